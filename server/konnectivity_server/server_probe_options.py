"""Options of `proxy-server` for probes of paths: what is probed through each agent, and what follows from results."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.runtime.options import WORDS, at_least, duration, existing_file, one_of, option, positive
from konnectivity.runtime.shared_options import ProgramOptions
from konnectivity_server.probes import probe_classes

AGENT, PATH = "agent", "path"


def _probes(texts: tuple[str, ...]) -> str | None:
    try:
        probe_classes.parse(texts)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ServerProbeOptions(ProgramOptions):
    """Options for probes of paths."""

    probe: tuple[str, ...] = option(
        (),
        kind=WORDS,
        group="Probes (docs/operate/probes.md)",
        check=_probes,
        metavar="probe",
        help="Target that is probed through each agent, as NAME=HOST:PORT and then ,tcp or ,tls or ,http:/path or "
        ",https:/path or ,dns:name; a HOST of {ipv4}, {ipv6} or {host} stands for the agent's own identifier. May be "
        "repeated, or hold several probes with spaces between them (empty = no probes).",
    )
    probe_interval: float = option(
        duration("15s"),
        check=at_least(1),
        help="Time within which a probe shows a fault of a path. The next probe of a path begins at most this time "
        "after the last one, less the time limit of a probe: 3s, or a quarter of this time if that is shorter.",
    )
    probe_rate: int = option(
        100,
        check=positive,
        help="Maximum number of probes per second, through all agents and, with --tenants, of all tenants together; "
        "above the limit each path is probed less often than --probe-interval asks for.",
    )
    probe_ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies the targets of tls and https probes (empty = not verified).",
    )
    probe_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Certificate file that tls and https probes show to their targets, as kube-apiserver's "
        "--kubelet-client-certificate (empty = none is shown).",
    )
    probe_key: str = option(
        "", check=existing_file, metavar="file", help="Private key file of --probe-cert (empty = none)."
    )
    probe_node_events: bool = option(
        False,
        help="Record a Kubernetes Event on the Node of an agent when a path through it fails, and when it passes "
        "again; needs the right to create events in the namespace default.",
    )
    ready_when: str = option(
        AGENT,
        check=one_of(AGENT, PATH),
        metavar="state",
        help="Condition of readiness: agent = an agent is connected and answers pings; path = an agent of this server "
        "also passes its probes.",
    )

    @property
    def probe_classes(self) -> tuple[probe_classes.ProbeClass, ...]:
        """Classes that --probe declares."""
        return probe_classes.parse(self.probe)

"""Comparison of several servers and their agents, by what their admin ports report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from konnectivity.tool import admin_client
from konnectivity.tool.admin_client import AdminClient
from konnectivity.tool.check_results import CheckResult, CheckStatus, failed, ok, skipped, warning
from konnectivity.untrusted.numbers import finite

ADMIN, READY, AGENTS, EVERYWHERE, STATE, CLOCK = (
    "admin",
    "server-ready",
    "agents",
    "agent-everywhere",
    "agent-state",
    "clock",
)
SKEW_WARNED_S, SKEW_FAILED_S = 5.0, 60.0  # the API's tolerance of a token's times
RECENT_S = 300.0
_READY = "konnectivity_network_proxy_server_ready_backend_connections "
_NOBODY = "no agent is connected: every dial fails (No agent available)"
_LOOK_AT_AGENTS = "the agents' log: `Cannot connect to the server ...`; there: `konnectivity doctor -- proxy-agent ...`"
_SILENT = "its host is overloaded or frozen, or something in between drops the line"
_ADVICE = {
    "silent": (CheckStatus.FAILED, f"{_SILENT}; no new dials go to it"),
    "full": (CheckStatus.WARNING, "clients or targets that do not read; --tunnel-buffer-budget"),
    "draining": (CheckStatus.WARNING, "it is leaving: fine during a rollout"),
}


# Not "no_certificate": checks of load balancers, and of this tool, show none.
_REFUSALS = {
    "unknown_authority": "the client's certificate is of another authority than the listener's CA bundle has",
    "expired": "the client's certificate, or its authority's, has expired",
    "not_yet_valid": "the client's certificate is not valid yet: compare the clocks",
    "wrong_purpose": "the client's certificate is for servers only: it lacks the extended key usage clientAuth",
    "bad_certificate": "the client's certificate is not accepted",
    "refused_by_peer": "the client does not accept the server's certificate: its --ca-cert is of another authority",
}


@dataclass(slots=True)
class View:
    """Report of one server."""

    address: str
    error: str = ""
    overview: Mapping[str, Any] = field(default_factory=dict)  # empty: the server has no such path
    agents: Sequence[Mapping[str, Any]] = ()
    skew_s: float | None = None  # seconds by which the server's clock is ahead of ours
    reference_agents: int | None = None  # number of agents of a reference server, by its metrics
    token_refused: bool = False  # whether that is the error

    @property
    def says_who(self) -> bool:
        """Return whether the server names its agents."""
        return not self.error and self.reference_agents is None

    @property
    def agent_ids(self) -> set[str]:
        return {str(each.get("id", "")) for each in self.agents}


def ask(address: str, client: AdminClient, tenant: str = "") -> View:
    """Ask a server's admin port about itself or one of its tenants. Blocks for a few times its timeout at most."""
    found, which = View(address), f"tenant={admin_client.quoted(tenant)}" if tenant else ""
    try:
        answer = client.get(address, f"/api/v1/agents?{which}".removesuffix("?"))
        if answer.status == 404:
            found.reference_agents = agents_by_metrics(client.get(address, "/metrics").body)
        if found.reference_agents is not None:
            return found
        agents = admin_client.parsed(answer, address)
        if not isinstance(agents, list):
            raise admin_client.AdminError(f"{address} gives no list of agents")
        found.agents = agents
        answer = client.get(address, f"/api/v1/overview?history=1&{which}".removesuffix("&"))
        found.skew_s = skew(answer.headers.get("date", ""), datetime.now(UTC))
        if answer.status == 200:
            found.overview = admin_client.parse(answer, address)
    except admin_client.AdminError as error:
        found.error, found.token_refused = str(error), isinstance(error, admin_client.TokenError)
    return found


def agents_by_metrics(metrics: bytes) -> int | None:
    """Return the number of agents of a reference server, known by its metrics of Go's runtime; None for any other."""
    lines = metrics.decode("utf-8", "replace").splitlines()
    if not any(line.startswith("go_info") for line in lines):
        return None
    counts = [line.rpartition(" ")[2] for line in lines if line.startswith(_READY)]
    count = finite(counts[0]) if counts else None
    return None if count is None else int(count)


def skew(date: str, now: datetime) -> float | None:
    """Return by how many seconds a server's clock is ahead, from the `Date` of an answer (whole seconds)."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    seconds = (moment - now).total_seconds()
    return 0.0 if -1.5 < seconds < 0.5 else round(seconds, 1)


def judge(views: Sequence[View], expected: Iterable[str], warn_within_s: float) -> list[CheckResult]:
    """Check each server, then all of them against each other.

    Args:
        views: reports of the servers.
        expected: ids of agents that should be connected.
        warn_within_s: seconds of validity below which a certificate is a warning.

    """
    results: list[CheckResult] = []
    for view in views:
        if view.error:
            do = "is the server running? a port-forward, or this command on its host: the admin port is on loopback"
            do = "--admin-token-file with another token" if view.token_refused else do
            results.append(failed(ADMIN, view.address, view.error, do))
            continue
        if view.reference_agents is not None:
            results += _reference_agents(view, view.reference_agents)
            continue
        results += [_ready(view), _agents(view), *_clock(view), *_states(view)]
        results += [*_certificates(view, warn_within_s), *_handshakes(view), *_failures(view)]
    return [*results, *_same(views), *_everywhere([each for each in views if each.says_who], set(expected))]


def _reference_agents(view: View, agents: int) -> list[CheckResult]:
    """Check a server that has no /api/v1, such as the reference, by its metrics."""
    results = [skipped(ADMIN, view.address, "the server is the reference: it does not say which agents it has")]
    if agents:
        return [*results, ok(AGENTS, view.address, f"{agents}, by its metrics")]
    return [*results, failed(AGENTS, view.address, _NOBODY, _LOOK_AT_AGENTS)]


def _ready(view: View) -> CheckResult:
    if not view.overview:
        return skipped(READY, view.address, "it has no /api/v1/overview", "ask /readyz on its health port")
    if view.overview.get("ready"):
        return ok(READY, view.address, f"server {view.overview.get('id')}, version {view.overview.get('version')}")
    return failed(READY, view.address, f"not ready: {view.overview.get('not_ready')}", "see agents, below")


def _agents(view: View) -> CheckResult:
    if not view.agents:
        return failed(AGENTS, view.address, _NOBODY, _LOOK_AT_AGENTS)
    ids = sorted(view.agent_ids)
    more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
    return ok(AGENTS, view.address, f"{len(ids)}: {', '.join(ids[:10])}{more}")


def _clock(view: View) -> list[CheckResult]:
    if view.skew_s is None:
        return []
    seconds = abs(view.skew_s)
    if seconds < SKEW_WARNED_S:
        return [ok(CLOCK, view.address, "the same time as here")]
    what = f"{seconds:g} s {'ahead of' if view.skew_s > 0 else 'behind'} this machine"
    do = "set both clocks (NTP): certificates and tokens are good for a time"
    return [(failed if seconds >= SKEW_FAILED_S else warning)(CLOCK, view.address, what, do)]


def _states(view: View) -> list[CheckResult]:
    found = []
    for each in view.agents:
        state = str(each.get("state", "ready"))
        if state in _ADVICE:
            status, do = _ADVICE[state]
            heard = each.get("heard_ago")
            since = f", nothing heard for {heard:.1f} s" if state == "silent" and isinstance(heard, float) else ""
            found.append(CheckResult(STATE, status, view.address, f"agent {each.get('id')} is {state}{since}", do))
    return found


def _certificates(view: View, warn_within_s: float) -> list[CheckResult]:
    found = []
    for each in view.overview.get("certificates", ()):
        left = finite(each.get("expires_in"))
        if left is None:
            continue
        which = f"the {each['kind']} in use for {each['end']}"
        if left < 0:
            found.append(failed("certificate-in-use", view.address, f"{which} has expired", "replace the files"))
        elif left < warn_within_s:
            days = f"{left / 86400:.1f} days"
            found.append(warning("certificate-in-use", view.address, f"{which} expires in {days}", "replace the files"))
        if each.get("reload_failures") and each["kind"] == "certificate":
            what = f"the TLS files for {each['end']} changed and could not be used"
            found.append(warning("tls-reload", view.address, what, "the server's log says why"))
    return found


def _handshakes(view: View) -> list[CheckResult]:
    """Return one warning per listener and reason of failed TLS handshakes that only a certificate can mend."""
    return [
        warning(
            "tls-handshakes",
            view.address,
            f"{count} handshakes for {listener} failed since its start: {_REFUSALS[reason]}",
            do,
        )
        for listener, reasons in view.overview.get("handshake_failures", {}).items()
        for reason, count in reasons.items()
        if reason in _REFUSALS
        for do in (
            f'the server\'s log names the peers: `TLS handshake failed listener="{listener}"`; docs/secure/tls.md',
        )
    ]


def _failures(view: View) -> list[CheckResult]:
    """Count recent failed dials by reason. A target that refuses is not a fault of the tunnel."""
    recent = view.overview.get("dial_failures", {}).get("recent", ())
    reasons: dict[str, Mapping[str, Any]] = {}
    for each in recent:
        ago = finite(each.get("ago"))
        if ago is not None and ago < RECENT_S and each.get("reason") != "error_response":
            reasons.setdefault(str(each.get("reason")), each)
    do = "the table of dial errors in docs/operate/troubleshooting.md"
    return [
        warning("dial-failures", view.address, f"{each.get('destination')}: {each.get('text')} ({reason})", do)
        for reason, each in reasons.items()
    ]


def _same(views: Sequence[View]) -> list[CheckResult]:
    seen: dict[str, str] = {}
    found = []
    for view in views:
        server_id = str(view.overview.get("id", ""))
        if server_id and server_id in seen:
            what = f"is the same server as {seen[server_id]}, or another one with the same --server-id"
            do = "one --admin for each server: forward a port of each pod, not of a Service; a --server-id for each"
            found.append(warning(ADMIN, view.address, what, do))
        seen.setdefault(server_id, view.address)
    return found


def _everywhere(views: Sequence[View], expected: set[str]) -> list[CheckResult]:
    """Report agents that some servers have and others lack."""
    everyone = expected.union(*(view.agent_ids for view in views))
    if not views or not everyone:
        return []
    found = []
    for agent in sorted(everyone):
        without = [view for view in views if agent not in view.agent_ids]
        for view in without:
            there = [each.address for each in views if agent in each.agent_ids]
            what = f"agent {agent} is not connected" + (f" (it is to {', '.join(there)})" if there else " anywhere")
            found.append(failed(EVERYWHERE, view.address, what, _missing(bool(there))))
    where = ", ".join(view.address for view in views)
    return found or [
        ok(EVERYWHERE, where, f"every agent ({len(everyone)}) is connected to every server ({len(views)})")
    ]


def _missing(elsewhere: bool) -> str:
    if not elsewhere:
        return "is it running? `konnectivity doctor -- proxy-agent ...` where it should be"
    return (
        "does the agent know of this server? --server-count, leases or --peers of the servers, all addresses in "
        "--proxy-server-host; the agent's log: `Cannot connect to the server`"
    )

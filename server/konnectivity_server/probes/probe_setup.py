"""Set-up of the prober of one server from its options. Owns nothing."""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from konnectivity.tls.certificate_reload import wall_clock
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.probes.common_rate import CommonRate
from konnectivity_server.probes.path_prober import PathProber
from konnectivity_server.probes.probe_classes import ProbeClass
from konnectivity_server.probes.probe_tls import ProbeTls
from konnectivity_server.registry import Registry


class ProbeOptions(Protocol):
    """Options of the server that concern probes."""

    @property
    def probe_classes(self) -> tuple[ProbeClass, ...]: ...
    @property
    def probe_interval(self) -> float: ...
    @property
    def probe_rate(self) -> int: ...
    @property
    def probe_ca_cert(self) -> str: ...
    @property
    def probe_cert(self) -> str: ...
    @property
    def probe_key(self) -> str: ...


def make_prober(
    options: ProbeOptions, registry: Registry[AgentTunnel], memory: MemoryBudget, common_rate: CommonRate | None
) -> PathProber:
    """Return the prober that options ask for.

    Raises:
        TlsError: a file of --probe-ca-cert, --probe-cert or --probe-key cannot be used.

    """
    tls = ProbeTls(options.probe_ca_cert, options.probe_cert, options.probe_key, monotonic, wall_clock)
    classes, interval_s, rate = options.probe_classes, options.probe_interval, options.probe_rate
    return PathProber(classes, interval_s, registry, memory, tls, rate, common_rate=common_rate)

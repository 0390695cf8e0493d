"""Read-only view of a running server: everything that the admin API, the metrics and the web page may look at.

Owns nothing. `tenant` builds the view when all parts of the server exist; readers never see the server itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from konnectivity.metrics.program_families import CertificateFiles
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.api.traffic_samples import Sampler
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.recent_problems import RecentProblems
from konnectivity_server.registry import Registry

if TYPE_CHECKING:
    from konnectivity_server.agents.token_authentication import TokenAuthenticator
    from konnectivity_server.audit.audit_log import DialRecorder
    from konnectivity_server.peers.peer_servers import PeerServers
    from konnectivity_server.peers.peer_tunnel import PeerTunnel
    from konnectivity_server.peers.server_lease import ServerLease
    from konnectivity_server.probes.path_prober import PathProber
    from konnectivity_server.tracing.dial_tracing import DialTracing


class AgentRecords(Protocol):
    """Counts and records that the agent service keeps."""

    refused: int
    fell_silent: int

    @property
    def conflicts(self) -> int:
        """Number of agents that came with the id of another one."""

    def departures(self) -> list[dict[str, Any]]:
        """Return the agents that left and did not return, the latest first."""


class DialRecords(Protocol):
    """Counts and records that the pending dials keep."""

    retried: int
    failures: RecentProblems
    audit: DialRecorder | None
    tracing: DialTracing | None


class ConnectRecords(Protocol):
    """Count that the HTTP CONNECT frontend keeps."""

    clients: int


class ForwardRecords(Protocol):
    """Counts that the forward frontend keeps."""

    @property
    def clients(self) -> int:
        """Number of open connections of clients."""

    @property
    def dials(self) -> Counter[tuple[str, str]]:
        """Number of dials by protocol and result."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """Parts of one server, for reading."""

    server_id: str
    clock: Callable[[], float]  # monotonic seconds
    started_at: float
    strategies: Sequence[str]
    registry: Registry[AgentTunnel]
    agents: AgentRecords
    dials: DialRecords
    connect: ConnectRecords
    agent_traffic: TunnelStats
    frontend_traffic: TunnelStats
    peer_traffic: TunnelStats
    memory: MemoryBudget
    limits: ServerLimits
    certificates: Mapping[str, CertificateFiles]  # by listener
    sampler: Sampler
    not_ready: Callable[[], str | None]  # the reason why no dial can pass, or None
    peers: PeerServers | None = None
    token_authenticator: TokenAuthenticator | None = None
    claim_verifier: ClaimVerifier | None = None
    server_lease: ServerLease | None = None
    prober: PathProber | None = None
    forward: ForwardRecords | None = None

    @property
    def peer_tunnels(self) -> Sequence[PeerTunnel]:
        """Tunnels to other servers."""
        return () if self.peers is None else tuple(self.peers.tunnels.values())

    @property
    def tunnels(self) -> list[DialingTunnel]:
        """Tunnels that carry connections: to the agents of this server, and to other servers."""
        return tunnels_of(self.registry, self.peers)


def tunnels_of(registry: Registry[AgentTunnel], peers: PeerServers | None) -> list[DialingTunnel]:
    """Return the tunnels that carry connections of a server: to its agents, and to other servers."""
    return [*registry.all(), *(() if peers is None else peers.tunnels.values())]

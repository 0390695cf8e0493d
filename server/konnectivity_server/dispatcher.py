"""One dial through the server: choose an agent, or a peer that has one, ask it, hand the answer to whoever asked.

Owns the choice, the bound on the wait and the further tries. Knows neither frontend protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.errors import (
    ABANDONED,
    NO_AGENT,
    NO_DESCRIPTORS,
    NO_MEMORY,
    TOO_MANY_DIALS,
    DialError,
    DialFailure,
)
from konnectivity.grpc.message_stream import Peer
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.net import addresses
from konnectivity.runtime import logs
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import Caller, Dial, DialingTunnel
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.untrusted.untrusted_text import CUT, MAX_BYTES, cut
from konnectivity_server import strategies
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.audit.audit_records import CANCELLED
from konnectivity_server.peer_limits import DialLimits
from konnectivity_server.recent_problems import RecentProblems
from konnectivity_server.registry import Registry

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.audit.audit_records import Trail
    from konnectivity_server.peers.peer_servers import PeerServers

log = logs.get(__name__)
# A destination that fails is dialled again and again: a few lines say so.
peer_log = logs.get_peer_log(__name__, logs.LineRate(per_peer=3, per_message=100))

# Where many agents go at once, as with a rack or a zone, the second one may be among them. But what a dial does to an
# agent, it shall not do to all.
MAX_MOVES = 3
MAX_RELAYED_MOVES = 1  # of a dial that came from another server, which moves it itself
_UNANSWERED = (DialFailure.TUNNEL_LOST, DialFailure.CLOSED_BY_AGENT)
_DECLINED = {NO_MEMORY: DialFailure.BUDGET, TOO_MANY_DIALS: DialFailure.FLOOD}  # answers of an agent, or a peer
_DECLINED_BY_PEER = _DECLINED | {NO_AGENT: DialFailure.NO_AGENT}  # an agent has no word on other agents


class Route:
    """A dial on its way: through one agent and, if that gives no answer, through another, a few times; or a peer."""

    __slots__ = (
        "_address",
        "_caller",
        "_dial",
        "_dispatcher",
        "_due",
        "_moves",
        "_origin",
        "_pending",
        "_protocol",
        "_relayed",
        "_trail",
        "_tried",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: str,
        caller: Caller,
        origin: str,
        protocol: str,
        relayed: bool,
        trail: Trail | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._address = address
        self._caller = caller
        self._origin = origin
        self._protocol = protocol
        self._due = monotonic() + dispatcher.dial_timeout_s if dispatcher.dial_timeout_s else None
        self._relayed = relayed
        self._trail = trail
        self._pending = False  # counted
        self._tried: list[DialingTunnel] = []
        self._dial: Dial | None = None
        self._moves = 0

    def start(self, tunnel: DialingTunnel) -> None:
        timeout_s = None if self._due is None else max(self._due - monotonic(), 0.001)
        self._tried.append(tunnel)
        if self._trail is not None:
            self._trail.asking(tunnel)
        self._dial = tunnel.dial(self._address, self, timeout_s, self._protocol, self._origin)
        if not self._pending:
            self._pending = True
            self._dispatcher.pending[frontend_of(self._origin)] += 1

    def cancel(self) -> None:
        """Nobody wants the connection any more. No callback follows."""
        self._over()
        self._note(CANCELLED)
        if self._trail is not None:
            self._trail.refused()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def move(self, last_resort: bool = False, counts: bool = True) -> bool:
        """Go through another agent, if there is one that answers; the first is told to forget the dial.

        Args:
            last_resort: an agent that is not ready is good enough, if no other is left.
            counts: the dial may have cost an agent something: that happens to a few agents only.

        """
        other = self._other(last_resort)
        if other is None:
            return False
        if counts and self._moves >= (MAX_RELAYED_MOVES if self._relayed else MAX_MOVES):
            self._dispatcher.limits.reached["dial_attempts"] += 1
            return False
        self._moves += counts
        self._dispatcher.moved += 1
        if self._dial is not None:
            self._dial.withdraw()
        if log.v(2):
            log.info("Dialing through another agent", destination=self._address, **other.log_fields)
        self.start(other)
        return True

    def _over(self) -> None:
        if self._pending:
            self._pending = False
            self._dispatcher.answered(frontend_of(self._origin))

    def _other(self, last_resort: bool) -> DialingTunnel | None:
        other = self._dispatcher.choose(self._address, self._relayed, self._tried)
        if other is None and last_resort:
            return self._dispatcher.last_resort(self._address, self._tried)
        return other

    # ---- Caller ---------------------------------------------------------------------------------------------------

    def dial_succeeded(self, link: Connection) -> None:
        self._over()
        self._dial = None
        if self._trail is not None:
            self._trail.dialled(link)
        self._caller.dial_succeeded(link)

    def dial_failed(self, error: DialError) -> None:
        tunnel, text = self._tried[-1], str(error)
        agent = tunnel if isinstance(tunnel, AgentTunnel) else None
        answered = error.failure is DialFailure.ENDPOINT
        declined = (_DECLINED if agent is not None else _DECLINED_BY_PEER).get(text) if answered else None
        unable = answered and text.endswith((NO_DESCRIPTORS, NO_AGENT))
        if declined is not None or unable or error.failure in _UNANSWERED:
            if agent is not None:
                agent.declined()
            lost = error.failure is DialFailure.TUNNEL_LOST  # an agent that left: its successor may be new
            if self.move(last_resort=answered or lost, counts=declined is not DialFailure.NO_AGENT):
                return
        if declined is not None:
            error = self._dispatcher.refused(declined, text)
        elif answered and agent is not None and text.endswith(NO_AGENT):  # not the word of a server
            error = DialError(DialFailure.ENDPOINT, f"the agent answered {text!r}")
        self._over()
        self._note(error)
        if self._trail is not None:
            self._trail.refused(error)
        self._dial = None
        self._caller.dial_failed(error)

    def _note(self, error: DialError) -> None:
        took_s = 0.0 if self._dial is None else monotonic() - self._dial.asked_at
        self._dispatcher.note(error, self._address, self._origin, self._tried[-1] if self._tried else None, took_s)


class Dispatcher:
    """Where both frontends bring their dials."""

    def __init__(
        self,
        registry: Registry[AgentTunnel],
        names: list[str],
        dial_timeout_s: float,
        ledger: MemoryBudget,
        traffic: TunnelStats,
        limits: DialLimits | None = None,
    ) -> None:
        self.limits = limits or DialLimits()
        self.pending: Counter[str] = Counter()  # dials under way, by who asked
        self.dial_timeout_s = dial_timeout_s
        self.moved = 0  # dials that were given to another agent, or peer, after the first
        self.http_connections = 0  # CONNECT clients that are being served
        self.peers: PeerServers | None = None
        self.audit: AuditLog | None = None
        self.failures = RecentProblems(("reason", "destination", "agent", "server", "text"), monotonic)
        self._traffic = traffic
        self._registry = registry
        self._names = names
        self._ledger = ledger
        self._random = Random()

    def dial(self, address: str, caller: Caller, origin: Peer, protocol: str = "tcp", relayed: bool = False) -> Route:
        """Ask an agent for a connection, for `origin`. The caller is called later, never before this returns.

        Args:
            address: "host:port".
            caller: who is told the outcome.
            origin: who asked, for the logs.
            protocol: of the target.
            relayed: it came from another server: no third one is asked.

        Raises:
            DialError: it failed at once: no agent, no buffer memory left, too many dials, or no address at all.

        """
        trail = self.audit.trail(address, protocol, origin, relayed) if self.audit is not None else None
        try:
            self._check(address, protocol)
            tunnel = self._ready(address, origin.name, relayed)
            route = Route(self, address, caller, origin.name, protocol, relayed, trail)
            route.start(tunnel)
        except DialError as error:
            self.note(error, address, origin.name)
            if trail is not None:
                trail.refused(error)
            raise
        return route

    def _check(self, address: str, protocol: str) -> None:
        """Refuse what cannot be an address, whichever frontend or peer server asks for it."""
        if len(address) > self.limits.address_bytes or cut(address).endswith(CUT):
            self.limits.reached["address_length"] += 1
            text = f"the address is longer than {min(self.limits.address_bytes, MAX_BYTES)} characters"
            raise self.refused(DialFailure.ADDRESS, text)
        if protocol in addresses.NETWORKS:  # agents of the reference may know others, and judge them themselves
            try:
                addresses.parse(protocol, address)
            except ValueError as error:
                raise self.refused(DialFailure.ADDRESS, str(error)) from None

    def _ready(self, address: str, origin: str, relayed: bool) -> DialingTunnel:
        if not relayed and self.pending[frontend_of(origin)] >= self.limits.per_frontend:
            self.limits.reached["pending_dials_per_frontend"] += 1
            raise self.refused(DialFailure.FLOOD, TOO_MANY_DIALS)
        tunnel = self.choose(address, relayed) or self.last_resort(address)
        if tunnel is None:
            raise self.refused(DialFailure.NO_AGENT, NO_AGENT)
        if len(tunnel.pending) >= tunnel.most_pending:
            self.limits.reached["pending_dials_per_agent"] += 1  # it waits there
        if self._ledger.exhausted or tunnel.buffers_full:
            self._ledger.refused_dials += 1
            raise self.refused(DialFailure.BUDGET, NO_MEMORY)
        return tunnel

    def choose(self, address: str, relayed: bool = False, tried: Sequence[DialingTunnel] = ()) -> DialingTunnel | None:
        """The agent for an address, as the strategies have it; if there is none that is ready, a peer that has some."""
        agent = strategies.pick(self._names, self._registry, address, self._random, tried)
        if agent is not None or self.peers is None or relayed:
            return agent
        return self.peers.pick(tried)

    def last_resort(self, address: str, tried: Sequence[DialingTunnel] = ()) -> AgentTunnel | None:
        """An agent that is not ready, when there is nothing else."""
        return strategies.last_resort(self._names, self._registry, address, self._random, tried)

    def suspected(self, agent: DialingTunnel) -> None:
        """It does not answer: what it was asked for goes through others, where there are any."""
        for dial in [*agent.pending.values(), *agent.queued.values()]:
            if isinstance(dial.caller, Route):
                dial.caller.move()

    def abandoned(self, link: Connection) -> None:
        """A connection came, and whoever asked for it is gone."""
        self._traffic.dial_failed(ABANDONED)
        link.local_lost("the frontend is gone")

    def answered(self, source: str) -> None:
        """One of the dials under way of `source` is over."""
        self.pending[source] -= 1
        if not self.pending[source]:
            del self.pending[source]

    def note(
        self, error: DialError, address: str, origin: str, tunnel: DialingTunnel | None = None, took_s: float = 0.0
    ) -> None:
        """Remember a failed dial for the admin port, and write a line about it unless the client took it back."""
        who = {} if tunnel is None else tunnel.log_fields
        address = cut(address)
        if error.failure is not DialFailure.CANCELLED:
            peer_log.info(address, "Dial failed", destination=address, **who, reason=str(error), **{"from": origin})
        self.failures.add(
            error.failure.value,
            address,
            who.get("agent"),
            who.get("server"),
            str(error),
            origin=origin,
            took=round(took_s, 3),
        )

    def refused(self, failure: DialFailure, text: str) -> DialError:
        self._traffic.dial_failed(failure.value)
        return DialError(failure, text)


def frontend_of(origin: str) -> str:
    """Return the frontend of an origin, "name@host:port" or "unix", without the port."""
    return origin.rpartition(":")[0] or origin

"""All dials through the server that wait for an answer.

Owns the number of pending dials per frontend, the choice of a backend for each try, and the list of recent failures.
Knows neither frontend protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.errors import NO_AGENT, NO_MEMORY, REFUSED_BY_SERVER, TOO_MANY_DIALS, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.net import addresses
from konnectivity.runtime import logs
from konnectivity.tunnel.dialing import DialingTunnel, DialOutcome
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.untrusted.untrusted_text import CUT, MAX_BYTES, cut
from konnectivity_server import strategies
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.dial_observer import joined
from konnectivity_server.peer_limits import DialLimits
from konnectivity_server.pending_dial import PendingDial
from konnectivity_server.recent_problems import RecentProblems
from konnectivity_server.registry import Registry

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import DialRecorder
    from konnectivity_server.dial_observer import DialObserver
    from konnectivity_server.policy.policy_file import PolicyFile
    from konnectivity_server.tracing.dial_tracing import DialTracing

log = logs.get(__name__)
# A destination that fails is dialled again and again: a few lines about it are enough.
peer_log = logs.get_peer_log(__name__, logs.LineRate(per_peer=3, per_message=100))

# Several agents leave at once when a rack or a zone does, and the second backend may be among them. But a dial that
# harms an agent must not reach all agents.
MAX_RETRIES = 3
MAX_RELAYED_RETRIES = 1  # retries of a dial for a peer server, which retries it as well

PickPeer = Callable[[Collection[DialingTunnel]], DialingTunnel | None]


def no_peers(tried: Collection[DialingTunnel]) -> DialingTunnel | None:
    """Pick no peer server: the server is the only one of its set."""
    return None


class PendingDials:
    """Pending dials of one server, and the way to start one.

    Args:
        registry: connected agents.
        names: names of the strategies that choose an agent, in their order.
        timeout_s: longest time that a dial waits for its answer, in seconds; 0: no limit.
        memory: memory budget; when it is exhausted, dials are refused.
        traffic: counters of the tunnels to agents.
        limits: limits of dials.
        pick_peer: returns a peer server for a dial that no agent here fits, given those that were tried.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        registry: Registry[AgentTunnel],
        names: list[str],
        timeout_s: float,
        memory: MemoryBudget,
        traffic: TunnelStats,
        limits: DialLimits | None = None,
        pick_peer: PickPeer = no_peers,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.retried = 0  # tries on another backend, of all dials
        self.audit: DialRecorder | None = None
        self.tracing: DialTracing | None = None
        self.policy: PolicyFile | None = None
        self.failures = RecentProblems(("reason", "destination", "agent", "server", "text"), clock)
        self._limits = limits or DialLimits()
        self._per_frontend: Counter[str] = Counter()
        self._registry = registry
        self._names = names
        self._timeout_s = timeout_s
        self._memory = memory
        self._traffic = traffic
        self._pick_peer = pick_peer
        self._clock = clock
        self._random = Random()

    def record_in(self, audit: DialRecorder) -> None:
        """Record every dial in an audit log from now on."""
        self.audit = audit

    def judge_by(self, policy: PolicyFile) -> None:
        """Refuse dials of frontends that a policy does not allow, from now on."""
        self.policy = policy

    def trace_in(self, tracing: DialTracing) -> None:
        """Make spans of the sampled dials from now on, beside the audit log's records."""
        self.tracing = tracing

    def dial(
        self,
        address: str,
        frontend: DialOutcome,
        origin: Peer,
        protocol: str = "tcp",
        relayed: bool = False,
        asked_for: str = "",
        judged: bool = True,
    ) -> PendingDial:
        """Ask a backend for a connection. The frontend is told the outcome later, never before this returns.

        Args:
            address: destination, as "host:port".
            frontend: is told the outcome.
            origin: the client.
            protocol: network of the destination.
            relayed: whether another server asks, which means that agents of this server only are asked.
            asked_for: name that the client asked for, where this server resolved it to the address; else empty.
            judged: whether the policy on frontends applies: False for a dial of the server itself.

        Raises:
            DialError: the dial failed at once: no backend, no memory, too many dials, or a malformed address.

        """
        name = origin.name
        source = name.rpartition(":")[0] or name
        observer: DialObserver | None = None
        if self.audit is not None:
            observer = self.audit.record(address, protocol, origin, relayed, asked_for)
        if self.tracing is not None:
            observer = joined(observer, self.tracing.record(address, protocol, origin, relayed, frontend))
        dial = PendingDial(self, frontend, address, protocol, name, source, relayed, observer, self._clock())
        try:
            self._check_address(address, protocol)
            if self.policy is not None and judged and not relayed:
                self._check_policy(self.policy, address, origin, asked_for)
            if not relayed:
                self._check_number(source)
            dial.start(self._first_backend(dial), self._timeout_s)
        except DialError as error:
            self._note(dial, error)
            if observer is not None:
                observer.refused(error)
            raise
        self._per_frontend[source] += 1
        return dial

    def retry_all_of(self, backend: DialingTunnel) -> None:
        """Retry the dials that wait for a backend that does not answer, where there is another backend."""
        for dial in backend.unanswered_dials():
            if isinstance(dial, PendingDial):
                dial.retry()

    def pending_of(self, source: str) -> int:
        """Return the number of pending dials of one frontend."""
        return self._per_frontend[source]

    # ---- DialOwner: called by pending dials -----------------------------------------------------------------------

    def next_backend(self, dial: PendingDial, last_resort: bool, counts: bool) -> DialingTunnel | None:
        """Return a backend that the dial was not asked of, or None if there is none or the dial had enough tries."""
        other = self._choose(dial, last_resort)
        if other is None:
            return None
        if counts and dial.retries >= (MAX_RELAYED_RETRIES if dial.relayed else MAX_RETRIES):
            self._limits.reached["dial_attempts"] += 1
            return None
        self.retried += 1
        if log.v(2):
            log.info("Dialing through another agent", destination=dial.address, **other.log_fields)
        return other

    def refused(self, failure: DialFailure, text: str) -> DialError:
        """Count a dial that is refused, and return its error."""
        self._traffic.dial_failed(failure.value)
        return DialError(failure, text)

    def dial_ended(self, dial: PendingDial, error: DialError | None) -> None:
        """Release the dial's place among those of its frontend, and note its error."""
        left = self._per_frontend[dial.source] - 1
        if left:
            self._per_frontend[dial.source] = left
        else:
            del self._per_frontend[dial.source]
        if error is not None:
            self._note(dial, error)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _check_address(self, address: str, protocol: str) -> None:
        """Refuse a text that cannot be an address, whichever frontend or peer server sent it."""
        if len(address) > self._limits.address_bytes or cut(address).endswith(CUT):
            self._limits.reached["address_length"] += 1
            text = f"the address is longer than {min(self._limits.address_bytes, MAX_BYTES)} characters"
            raise self.refused(DialFailure.ADDRESS, text)
        if protocol in addresses.NETWORKS:  # agents of the reference may know other networks, and judge them themselves
            try:
                addresses.parse(protocol, address)
            except ValueError as error:
                raise self.refused(DialFailure.ADDRESS, str(error)) from None

    def _check_number(self, source: str) -> None:
        """Refuse a dial of a frontend with too many pending dials, or above the highest rate of dials."""
        limits = self._limits
        if self._per_frontend[source] >= limits.per_frontend:
            limits.reached["pending_dials_per_frontend"] += 1
            raise self.refused(DialFailure.FLOOD, TOO_MANY_DIALS)
        if limits.rate is not None and not limits.rate.take():
            limits.reached["dial_rate"] += 1
            raise self.refused(DialFailure.FLOOD, TOO_MANY_DIALS)

    def _check_policy(self, policy: PolicyFile, address: str, origin: Peer, asked_for: str) -> None:
        """Refuse a dial that the policy on frontends does not allow."""
        if why := policy.refusal(origin, address, asked_for):
            raise self.refused(DialFailure.POLICY, f"dial tcp {cut(address)}: {REFUSED_BY_SERVER}: {why}")

    def _first_backend(self, dial: PendingDial) -> DialingTunnel:
        backend = self._choose(dial, last_resort=True)
        if backend is None:
            raise self.refused(DialFailure.NO_AGENT, NO_AGENT)
        if self._memory.exhausted or backend.buffers_full:
            self._memory.refused_dials += 1
            raise self.refused(DialFailure.BUDGET, NO_MEMORY)
        return backend

    def _choose(self, dial: PendingDial, last_resort: bool) -> DialingTunnel | None:
        """Return an agent that is ready, else a peer server that has one, else an agent that is not ready, if asked."""
        arguments = self._names, self._registry, dial.address, self._random, dial.tried
        backend: DialingTunnel | None = strategies.pick(*arguments)
        if backend is None and not dial.relayed:
            backend = self._pick_peer(dial.tried)
        if backend is None and last_resort:
            backend = strategies.last_resort(*arguments)
        return backend

    def _note(self, dial: PendingDial, error: DialError) -> None:
        """Keep a failed dial for the admin port, and log it unless the client cancelled it."""
        backend = dial.tried[-1].log_fields if dial.tried else {}
        address = cut(dial.address)
        if error.failure is not DialFailure.CANCELLED:
            peer_log.info(
                address, "Dial failed", destination=address, **backend, reason=str(error), **{"from": dial.origin}
            )
        self.failures.add(
            error.failure.value,
            address,
            backend.get("agent"),
            backend.get("server"),
            str(error),
            origin=dial.origin,
            took=round(self._clock() - dial.began_at, 3),
        )

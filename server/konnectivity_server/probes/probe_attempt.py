"""Probe of one path: a dial through one agent's tunnel, the exchange with the target, and the verdict.

Owns its connection until the verdict. Does not know when probes are due nor what follows from their results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from konnectivity.errors import DialError, DialFailure
from konnectivity.net import hop_timings
from konnectivity.net.hop_timings import HopTimings
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import Buffer
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.probes import path_faults
from konnectivity_server.probes.path_faults import PathFault, fault
from konnectivity_server.probes.path_record import ShownCertificate
from konnectivity_server.probes.probe_classes import TCP, TLS, ProbeClass
from konnectivity_server.probes.probe_exchanges import Exchange, ExchangeStep

_DONE = "the probe is done"
_HOPS = {TCP: "", TLS: hop_timings.TARGET_TLS}  # hop behind the dial; of other kinds FIRST_BYTE


class AttemptOwner(Protocol):
    """Owner of a probe, which hears its verdict."""

    def attempt_ended(self, attempt: ProbeAttempt, problem: PathFault | None) -> None:
        """Take the verdict of a probe: its fault, or None if the path passed. Called once."""


class ProbeAttempt:
    """Probe under way: the dial, and the local side of its connection.

    Args:
        owner: hears the verdict.
        agent: tunnel of the agent.
        address: target, as "host:port".
        probe: class of the probe.
        exchange: exchange with the target once it is connected.
        timeout_s: seconds until the owner ends the probe with `expire`.
        clock: monotonic seconds.

    """

    protocol = "tcp"
    is_probe = True

    __slots__ = (
        "_clock",
        "_connection",
        "_exchange",
        "_hop",
        "_owner",
        "_pinged",
        "_random",
        "address",
        "agent",
        "deadline",
        "ended",
        "hops",
        "origin",
        "started_at",
    )

    def __init__(
        self,
        owner: AttemptOwner,
        agent: AgentTunnel,
        address: str,
        probe: ProbeClass,
        exchange: Exchange,
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.agent = agent
        self.address = address
        self.origin = f"probe {probe.name}"
        self.ended = False
        self.started_at = clock()
        self.deadline = self.started_at + timeout_s
        self.hops = HopTimings(clock)
        self._owner = owner
        self._clock = clock
        self._exchange = exchange
        self._hop = _HOPS.get(probe.kind, hop_timings.FIRST_BYTE)
        self._connection: Connection | None = None
        self._pinged = False
        self._random = 0

    @property
    def certificate(self) -> ShownCertificate | None:
        """Certificate that the target showed."""
        return self._exchange.certificate

    def start(self) -> None:
        """Ask the agent for the connection.

        Raises:
            DialError: the agent's tunnel is closed.

        """
        self._random = self.agent.ask(self)

    def expire(self, grace_s: float) -> None:
        """End the probe, which took too long, with the fault of the part that did not answer.

        An agent that sent nothing since the probe began is pinged first, and gets `grace_s` more seconds to answer.
        """
        heard_at = self.agent.stream.heard_at
        quiet = heard_at is not None and heard_at < self.started_at
        if quiet and not self._pinged and not self.agent.suspect:
            self._pinged = True
            self.deadline += grace_s
            self.agent.round_trip.measure()
            self.agent.heartbeat.probe()
            return
        seconds = self._clock() - self.started_at
        if quiet or self.agent.suspect:
            problem = fault(path_faults.FROZEN, f"the agent answers nothing for {seconds:.1f} s")
        elif self._connection is None:
            text = f"the agent answers pings, but has no answer from {self.address} after {seconds:.1f} s"
            problem = fault(path_faults.NO_ANSWER, text)
        else:
            text = f"{self.address} accepts the connection, but its answer is not complete after {seconds:.1f} s"
            problem = fault(path_faults.SILENT, text)
        self._end(problem)

    def cancel(self) -> None:
        """Forget the probe: the owner is told nothing."""
        if not self.ended:
            self.ended = True
            self._release()

    # ---- Dial: called by the tunnel -------------------------------------------------------------------------------

    def dial_succeeded(self, connection: Connection) -> bool:
        """Begin the exchange with the target."""
        self.hops.done(hop_timings.DIAL)
        self._connection = connection
        connection.attach(self)
        self._take(self._exchange.begin())
        return True

    def dial_failed(self, error: DialError) -> None:
        """End the probe with the agent's error."""
        if error.failure is not DialFailure.TUNNEL_LOST:
            self.hops.done(hop_timings.DIAL)
        self._end(path_faults.of_dial(error))

    # ---- LocalSide: called by the connection ----------------------------------------------------------------------

    def write(self, data: Buffer) -> bool:
        """Take bytes of the target."""
        if not self.ended:
            self._take(self._exchange.feed(bytes(data)))
        return True

    def write_eof(self) -> None:
        """End the probe: the target ended the connection before its answer was complete."""
        self._end(fault(path_faults.CLOSED, f"{self.address} ended the connection before its answer was complete"))

    def close(self) -> None:
        """End the probe: the target closed the connection."""
        self.write_eof()

    def abort(self, reason: str) -> None:
        """End the probe: the connection was reset."""
        lost = path_faults.AGENT_LOST if self.agent.closed else path_faults.CLOSED
        self._end(fault(lost, f"the connection to {self.address} broke: {reason}"))

    def buffered(self) -> int:
        """Return 0: bytes of the target are used at once."""
        return 0

    def watch(self, left: int) -> None:
        """Do nothing: there are no buffered bytes."""

    def pause(self) -> None:
        """Do nothing: a probe sends a few bytes, which wait in the connection."""

    def resume(self) -> None:
        """Do nothing."""

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _take(self, step: ExchangeStep) -> None:
        if step.send and self._connection is not None:
            self._connection.outbound.send(step.send)
        if step.over:
            if self._hop:
                self.hops.done(self._hop)
            self._end(step.fault)

    def _end(self, problem: PathFault | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._release()
        self._owner.attempt_ended(self, problem)

    def _release(self) -> None:
        connection = self._connection
        if connection is None:
            if not self.agent.closed:
                self.agent.withdraw(self._random)
        elif self._exchange.polite:
            connection.local_gone(_DONE)
        else:
            connection.local_lost(_DONE)

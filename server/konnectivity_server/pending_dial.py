"""Dial through the server that waits for its answer.

A pending dial is asked of one backend and, if that has no answer or no room, of another. Knows neither how backends are
chosen nor which protocol the frontend speaks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from konnectivity.errors import DIAL_TIMEOUT, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel, DialOutcome
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.dial_answers import verdict_of

if TYPE_CHECKING:
    from konnectivity_server.dial_observer import DialObserver

CANCELLED = DialError(DialFailure.CANCELLED, "the client left before there was an answer")


class DialOwner(Protocol):
    """Owner of a pending dial: chooses its backends and keeps the books."""

    def next_backend(self, dial: PendingDial, last_resort: bool, counts: bool) -> DialingTunnel | None:
        """Return a backend that the dial was not asked of, or None if there is none or the dial had enough tries.

        Args:
            dial: the dial.
            last_resort: whether a backend that is not ready is good enough.
            counts: whether the try counts towards the limit of tries.

        """

    def refused(self, failure: DialFailure, text: str) -> DialError:
        """Count a dial that a backend declined, and return its error."""

    def dial_ended(self, dial: PendingDial, error: DialError | None) -> None:
        """Take notice of the end of a dial: with an error, or with a connection."""


class PendingDial:
    """A dial that waits for its answer; retried on another backend.

    Owns its tries, its deadline, its observer and its outcome. The frontend is told the outcome once, unless it
    cancels the dial before.

    Args:
        owner: chooses the backends.
        frontend: is told the outcome.
        address: destination, as "host:port".
        protocol: network of the destination, such as "tcp".
        origin: name of the client, for logs.
        source: frontend that the dial counts for: the origin without its port.
        relayed: whether another server asks, for a client of its own.
        observer: told each try and the outcome; None: there is neither an audit log nor tracing.
        began_at: time of the request, on the owner's clock.

    """

    is_probe = False

    __slots__ = (
        "_deadline",
        "_frontend",
        "_observer",
        "_owner",
        "_random",
        "address",
        "began_at",
        "ended",
        "origin",
        "protocol",
        "relayed",
        "retries",
        "source",
        "tried",
    )

    def __init__(
        self,
        owner: DialOwner,
        frontend: DialOutcome,
        address: str,
        protocol: str,
        origin: str,
        source: str,
        relayed: bool,
        observer: DialObserver | None,
        began_at: float,
    ) -> None:
        self.address = address
        self.protocol = protocol
        self.origin = origin
        self.source = source
        self.relayed = relayed
        self.began_at = began_at
        self.ended = False
        self.retries = 0  # retries that count towards the limit
        self.tried: list[DialingTunnel] = []  # backends in the order of the tries
        self._owner = owner
        self._frontend = frontend
        self._observer = observer
        self._random = 0  # number of the dial on the tunnel of the last try
        self._deadline: asyncio.TimerHandle | None = None

    def start(self, backend: DialingTunnel, timeout_s: float) -> None:
        """Ask the first backend. The dial fails after `timeout_s` seconds without an answer (0: never).

        Raises:
            DialError: the backend's tunnel is closed.

        """
        self._ask(backend)
        if timeout_s:
            self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    def cancel(self) -> None:
        """Forget the dial, because the client left. The frontend is told nothing."""
        if not self.ended:
            self._end(CANCELLED)
            self.tried[-1].withdraw(self._random, DialFailure.CANCELLED)

    def retry(self, last_resort: bool = False, counts: bool = True) -> bool:
        """Ask another backend instead of the last one; return False if there is none.

        Args:
            last_resort: whether a backend that is not ready is good enough.
            counts: whether the dial may have harmed the last backend, so that few others are asked.

        """
        other = None if self.ended else self._owner.next_backend(self, last_resort, counts)
        if other is None:
            return False
        self.retries += counts
        self.tried[-1].withdraw(self._random)
        self._ask(other)
        return True

    # ---- Dial: called by the tunnel -------------------------------------------------------------------------------

    def dial_succeeded(self, connection: Connection) -> bool:
        """Hand the connection to the frontend."""
        self._end(None)
        if self._observer is not None:
            self._observer.dialled(connection)
        return self._frontend.dial_succeeded(connection)

    def dial_failed(self, error: DialError) -> None:
        """Ask another backend, or tell the frontend the error."""
        agent = self.tried[-1]
        verdict = verdict_of(error, isinstance(agent, AgentTunnel))
        if verdict.try_another:
            if isinstance(agent, AgentTunnel):
                agent.declined()
            if self._observer is not None:
                self._observer.declined(error)
            if self.retry(verdict.last_resort, verdict.counts):
                return
        self._fail(self._owner.refused(verdict.declined, str(error)) if verdict.declined else verdict.error)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _ask(self, backend: DialingTunnel) -> None:
        self.tried.append(backend)
        if self._observer is not None:
            self._observer.asking(backend)
        self._random = backend.ask(self)

    def _expire(self) -> None:
        self.tried[-1].withdraw(self._random, DialFailure.TIMEOUT)
        self._fail(DialError(DialFailure.TIMEOUT, DIAL_TIMEOUT))

    def _fail(self, error: DialError) -> None:
        self._end(error)
        self._frontend.dial_failed(error)

    def _end(self, error: DialError | None) -> None:
        self.ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner.dial_ended(self, error)
        if error is not None and self._observer is not None:
            self._observer.refused(error)


class StartDial(Protocol):
    """Starts dials: what a frontend needs of the pending dials."""

    def __call__(self, address: str, frontend: DialOutcome, origin: Peer, protocol: str = "tcp") -> PendingDial:
        """Ask a backend for a connection and return the pending dial.

        The frontend is told the outcome later, never before this method returns.

        Raises:
            DialError: the dial failed at once.

        """

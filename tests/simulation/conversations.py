"""Conversations: what each side of a proxied connection sent and saw, and whether that can be true.

A conversation has one client and, since a dial may be retried, any number of accepted connections at its target. The
bytes of each direction are known in advance, so that every byte that arrives can be checked at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

PATTERN_SIZE = 1 << 20
PIECE = 64 * 1024  # most bytes that a client writes at once
_PATTERN = Random(11).randbytes(PATTERN_SIZE) * 3
UP, DOWN = 0, 1


def pattern(conversation: int, direction: int, offset: int, size: int) -> bytes:
    """Return the bytes that a direction of a conversation carries from an offset on."""
    start = (conversation * 7919 + direction * 500_009 + offset) % PATTERN_SIZE
    return _PATTERN[start : start + size]


@dataclass
class SideRecord:
    """One side of a conversation: the client, or one connection that the target accepted.

    Attributes:
        sent: bytes handed over for sending.
        received: bytes read.
        finished: it ended its output.
        saw_end: it read a clean end.
        saw_error: text of the error that it was told; empty: none.
        closed: it is over.

    """

    name: str
    dialed_from: str = ""  # of a target: IP address of the agent
    sent: int = 0
    received: int = 0
    finished: bool = False
    aborted: bool = False  # it reset the connection itself
    left: bool = False  # it closed before it had read the end
    saw_end: bool = False
    saw_error: str = ""
    closed: bool = False


@dataclass(frozen=True)
class Script:
    """What the two sides of a conversation do.

    Attributes:
        target: "echo", "source", "sink", "answer" (reads to the end, then sends), "refuse", "silent" or "reset".
        up: bytes that the client sends.
        down: bytes that the target sends, except an echo.
        pieces: writes in which the client sends them.
        pause_s: pause between two writes.
        stall_s: time for which the client reads nothing; stall_target: the target instead.
        half_close: whether the client ends its output before it has read everything.

    """

    target: str = "echo"
    up: int = 0
    down: int = 0
    pieces: int = 1
    pause_s: float = 0.0
    stall_s: float = 0.0
    stall_target: bool = False
    half_close: bool = True

    @property
    def piece(self) -> int:
        """Return the size of a write of the client."""
        return min(max(1, self.up // max(1, self.pieces)), PIECE)

    @property
    def writes(self) -> int:
        """Return the number of writes of the client."""
        return -(-self.up // self.piece)


@dataclass
class Conversation:
    """One dial and what followed from it."""

    number: int
    script: Script
    frontend: str  # mode and path, such as "connect unix"
    server: str
    address: str
    dialed_at: float
    deadline_s: float
    exact: bool = True  # whether every tunnel on its way has the extension: the reference protocol loses ends
    client: SideRecord = field(default_factory=lambda: SideRecord("client"))
    targets: list[SideRecord] = field(default_factory=list)
    outcome: str = ""  # "connected", or the failure of the dial
    connected_at: float = 0.0
    ended_at: float | None = None
    violations: list[str] = field(default_factory=list)  # of all conversations of the run
    tenant: str = ""  # of the client; empty: each server serves one cluster

    @property
    def echoes(self) -> bool:
        """Return whether the target sends back what it receives."""
        return self.script.target == "echo"

    @property
    def over(self) -> bool:
        """Return whether both sides have ended."""
        return self.client.closed and all(each.closed for each in self.targets)

    def client_received(self, data: bytes) -> None:
        """Check bytes that the client read."""
        direction = UP if self.echoes else DOWN
        self._check(self.client, direction, data)
        most = max((each.sent for each in self.targets), default=0)
        if self.client.received > most:
            self._violated(f"the client read {self.client.received} bytes of {most} sent")

    def target_received(self, side: SideRecord, data: bytes) -> None:
        """Check bytes that the target read."""
        self._check(side, UP, data)
        if side.received > self.client.sent:
            self._violated(f"the target read {side.received} bytes of {self.client.sent} sent")

    def _check(self, side: SideRecord, direction: int, data: bytes) -> None:
        expected = pattern(self.number, direction, side.received, len(data))
        if data != expected:
            place = next(index for index, (a, b) in enumerate(zip(data, expected, strict=False)) if a != b)
            self._violated(f"{side.name} read other bytes than were sent, from byte {side.received + place} on")
        side.received += len(data)

    def client_saw_end(self) -> None:
        """Check a clean end that the client read."""
        self.client.saw_end = True
        if self.frontend == "connect unix" or not self.exact:
            return  # a unix socket cannot tell a reset from an end, so no server can either
        for side in self.targets:
            if side.finished and side.sent == self.client.received:
                return
        sent = [(each.finished, each.sent) for each in self.targets]
        self._violated(
            f"the client read a clean end after {self.client.received} bytes, the target's (ended, sent): {sent}"
        )

    def target_saw_end(self, side: SideRecord) -> None:
        """Check a clean end that the target read."""
        side.saw_end = True
        if not self.exact:
            return
        if (self.client.finished or self.client.left) and side.received == self.client.sent:
            return
        if self.frontend == "connect tls" and side.finished:
            return  # TLS ends both directions at once: the target ended first, and so ended what the client still sent
        if not side.received and (self.outcome != "connected" or len(self.targets) > 1):
            return  # a dial that was withdrawn, or a retried one: nobody used this connection
        self._violated(
            f"the target read a clean end after {side.received} bytes of {self.client.sent}, "
            f"and the client had {'' if self.client.finished else 'not '}ended"
        )

    def _violated(self, text: str) -> None:
        self.violations.append(f"conversation {self.number} ({self.frontend}, {self.script.target}): {text}")

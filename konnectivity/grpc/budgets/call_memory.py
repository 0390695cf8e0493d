"""Memory of the message that a call has received in part: counted, bounded, and granted where many users share it.

Owns the count and the wait for a grant of one call. Does not know streams, windows or gRPC.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from konnectivity.grpc.budgets.message_memory import SMALL_MESSAGE, MessageMemory

LOOK_AGAIN_S = 1.0  # seconds between two checks for memory that is released elsewhere


class IncompleteMessages:
    """Bytes of the incomplete messages of all calls on one connection.

    Args:
        limit: bytes above which the call that adds more is refused.
        memory: memory shared with other connections, whose bound then holds instead of `limit`.
        timeout_s: seconds that a message may stay incomplete while another one waits for its memory.
        call_later: calls a function after a number of seconds, as the event loop's method does.
        reached: counter of reached limits, by name.

    """

    __slots__ = ("call_later", "held", "limit", "memory", "reached", "timeout_s")

    def __init__(
        self,
        limit: int,
        memory: MessageMemory[CallMemory] | None,
        timeout_s: float,
        call_later: Callable[..., asyncio.TimerHandle],
        reached: Counter[str],
    ) -> None:
        self.held = 0
        self.limit = limit
        self.memory = memory
        self.timeout_s = timeout_s
        self.call_later = call_later
        self.reached = reached

    def add(self, size: int) -> bool:
        """Count `size` more bytes (negative: fewer), and return whether all stay within the bound."""
        if self.memory is not None:
            return self.memory.count(size)
        self.held += size
        return self.held <= self.limit


class MemoryOwner(Protocol):
    """Call that waits for memory, or is refused it."""

    def withhold_credit(self) -> None:
        """Return no window from now on, so that the peer sends no more of its message."""

    def return_credit(self) -> None:
        """Return the window that was withheld: there is memory for the rest of the message."""

    def refuse_incomplete(self) -> None:
        """End the call: its incomplete message keeps too much memory, or keeps it for too long."""


class _NoOwner:
    """Owner in place of a call that has ended."""

    def withhold_credit(self) -> None:
        return

    def return_credit(self) -> None:
        return

    def refuse_incomplete(self) -> None:
        return


_NO_OWNER = _NoOwner()


class CallMemory:
    """Memory of one call's incomplete message.

    Attributes:
        held: bytes of the message that are here.
        pending: whether the message has a grant or waits for one.

    """

    __slots__ = ("_connection", "_granted", "_owner", "_paused", "_timer", "held", "pending")

    def __init__(self, connection: IncompleteMessages, owner: MemoryOwner) -> None:
        self.held = 0
        self.pending = False
        self._connection = connection
        self._owner: MemoryOwner = owner
        self._paused = False
        self._granted = False
        self._timer: asyncio.TimerHandle | None = None  # while the message waits for memory

    @property
    def waits(self) -> bool:
        """Return whether the message waits for memory."""
        return self._timer is not None

    def count(self, held: int, size: int) -> None:
        """Record that `held` bytes of a message of `size` bytes are here; ask for its memory if it is large."""
        added = held - self.held
        self.held = held
        within = self._connection.add(added)
        if held and not within:
            self._owner.refuse_incomplete()
        else:
            self._ask(size)

    def leave(self) -> None:
        """Give up the grant or the wait for it: the message is complete, or nothing is to be received for a while."""
        memory = self._connection.memory
        if memory is None:
            return
        waited = self._stop_waiting()
        self._granted = self.pending = False
        if waited and not self._paused:
            self._owner.return_credit()
        for other in memory.leave(self):
            other.granted()

    def pause(self) -> None:
        """Give up the memory: the rest of the message is only received when the call is resumed."""
        self._paused = True
        self.leave()

    def resume(self, size: int) -> None:
        """Ask for memory again for a message of `size` bytes."""
        self._paused = False
        if self._connection.memory is not None:
            self._grant_others(self._connection.memory)  # the call was paused because its data waited here
            self._ask(size)

    def granted(self) -> None:
        """Receive the rest of the message: the queue for memory has reached this call."""
        self._granted = self.pending = True
        self._stop_waiting()
        self._owner.return_credit()

    def close(self) -> None:
        """Give back all memory, and let go of the call, which has ended: a cycle would keep its header fields."""
        self._connection.add(-self.held)
        self.held = 0
        self.leave()
        self._owner = _NO_OWNER

    def _ask(self, size: int) -> None:
        """Withhold the peer's window until there is memory for a message of `size` bytes, if that is large."""
        memory = self._connection.memory
        if memory is None or size <= SMALL_MESSAGE or self.pending or self._paused:
            return
        self.pending = True
        if memory.ask(self, size):
            self._granted = True
            return
        self._connection.reached["message_memory"] += 1
        self._wait(memory)
        self._owner.withhold_credit()

    def _wait(self, memory: MessageMemory[CallMemory]) -> None:
        connection = self._connection
        seconds = min(LOOK_AGAIN_S, connection.timeout_s)
        self._timer = connection.call_later(seconds, self._look_again, memory)

    def _look_again(self, memory: MessageMemory[CallMemory]) -> None:
        """Look for memory, and refuse the calls that have kept theirs for too long without a complete message."""
        self._wait(memory)
        self._grant_others(memory)
        for other in memory.overdue(self._connection.timeout_s):
            other._owner.refuse_incomplete()

    def _grant_others(self, memory: MessageMemory[CallMemory]) -> None:
        for other in memory.grant():
            other.granted()

    def _stop_waiting(self) -> bool:
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        return True

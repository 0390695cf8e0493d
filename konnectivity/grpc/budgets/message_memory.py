"""Memory for the large gRPC messages that many streams of one process send at the same time. Pure; the clock is given.

A client with one connection for many users sends their messages interleaved, so that all of them are incomplete at the
same time. Memory is granted to whole messages in the order of the requests: a message with a grant can be completed,
and a stream without one gets no window until another message is complete. Knows nothing of HTTP/2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

SMALL_MESSAGE = 64 * 1024  # bytes of a message that needs no grant


class MessageMemory(Generic[T]):
    """Grants of memory, and the queue of those who wait for one.

    Args:
        budget: bytes of all messages that have a grant; a message that is larger than all of it is granted alone.
        most_held: bytes of all messages that are incomplete, with a grant or without.
        clock: source of monotonic seconds.
        has_room: returns whether the process has memory for the content of a complete message.

    """

    def __init__(
        self, budget: int, most_held: int, clock: Callable[[], float], has_room: Callable[[], bool] = lambda: True
    ) -> None:
        self.held = 0  # bytes of incomplete messages, counted by the streams
        self.most_held = most_held
        self._budget = budget
        self._clock = clock
        self._has_room = has_room
        self._used = 0
        self._granted: OrderedDict[T, tuple[int, float]] = OrderedDict()  # size, and time of the grant
        self._waiting: OrderedDict[T, int] = OrderedDict()

    def ask(self, owner: T, size: int) -> bool:
        """Grant memory for the owner's message of `size` bytes and return True, or queue the owner and return False."""
        if owner in self._granted:
            return True
        if owner not in self._waiting:
            self._waiting[owner] = size
            if len(self._waiting) == 1 and self._fits(size):
                self._grant()
                return True
        return False

    def leave(self, owner: T) -> list[T]:
        """Forget the owner's message, and return the owners that get a grant because of that."""
        self._waiting.pop(owner, None)
        size, _ = self._granted.pop(owner, (0, 0.0))
        self._used -= size
        return self.grant()

    def grant(self) -> list[T]:
        """Grant memory to as many waiting owners as fit, and return these owners."""
        granted = []
        while self._waiting and self._fits(next(iter(self._waiting.values()))):
            granted.append(self._grant())
        return granted

    def overdue(self, seconds: float) -> list[T]:
        """Return the owners that have had memory for at least `seconds`, if other owners wait."""
        if not self._waiting:
            return []
        before = self._clock() - seconds
        return [owner for owner, (_, since) in self._granted.items() if since <= before]

    def _fits(self, size: int) -> bool:
        return (not self._granted or self._used + size <= self._budget) and self._has_room()

    def _grant(self) -> T:
        owner, size = self._waiting.popitem(last=False)
        self._granted[owner] = (size, self._clock())
        self._used += size
        return owner

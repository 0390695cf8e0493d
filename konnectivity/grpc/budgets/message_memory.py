"""Memory for the large gRPC messages that many streams of one process send at the same time. Pure; the clock is given.

A client with one connection for many users sends their messages interleaved, so that all of them are incomplete at the
same time. Memory is granted to whole messages in the order of the requests: a message with a grant can be completed,
and a stream without one gets no window until another message is complete. A part of the memory belongs to a tenant,
has a queue of its own, and counts in the whole. Knows nothing of HTTP/2.
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
        whole: memory that this one is a part of.

    """

    def __init__(
        self,
        budget: int,
        most_held: int,
        clock: Callable[[], float],
        has_room: Callable[[], bool] = lambda: True,
        whole: MessageMemory[T] | None = None,
    ) -> None:
        self._budget = budget
        self._most_held = most_held
        self._clock = clock
        self._has_room = has_room
        self._whole = whole
        self.held = 0  # bytes of incomplete messages
        self._used = 0
        self._granted: OrderedDict[T, tuple[int, float]] = OrderedDict()  # size, and time of the grant
        self._waiting: OrderedDict[T, int] = OrderedDict()
        self._holders = 0  # parts that have incomplete messages
        self._waiting_parts: OrderedDict[MessageMemory[T], None] = OrderedDict()  # in the order of their turns

    def part(self, budget: int, most_held: int, has_room: Callable[[], bool]) -> MessageMemory[T]:
        """Return the memory of a tenant, which counts in the whole; arguments as those of the class."""
        return MessageMemory(min(budget, self._budget), min(most_held, self._most_held), self._clock, has_room, self)

    def count(self, size: int) -> bool:
        """Count `size` more bytes of incomplete messages (negative: fewer), and return whether all are within bounds.

        A part within its equal share is within bounds, however much other parts hold.
        """
        before, self.held = self.held, self.held + size
        whole = self._whole
        if whole is None:
            return self.held <= self._most_held
        whole._holders += bool(self.held) - bool(before)
        within = whole.count(size) or self.held <= whole._most_held // max(whole._holders, 1)
        return within and self.held <= self._most_held

    def ask(self, owner: T, size: int) -> bool:
        """Grant memory for the owner's message of `size` bytes and return True, or queue the owner and return False."""
        if owner in self._granted:
            return True
        if owner not in self._waiting:
            self._waiting[owner] = size
            if len(self._waiting) == 1 and not self._is_behind_others() and self._fits(size):
                self._grant()
                return True
            if self._whole is not None:
                self._whole._waiting_parts.setdefault(self)
        return False

    def leave(self, owner: T) -> list[T]:
        """Forget the owner's message, and return the owners that get a grant because of that."""
        self._waiting.pop(owner, None)
        self._forget(owner)
        return self.grant()

    def grant(self) -> list[T]:
        """Grant memory to as many waiting owners as fit, also of other parts, and return these owners."""
        if self._whole is not None:
            return self._whole._grant_parts()
        granted = []
        while self._waiting and self._fits(self._next_size()):
            granted.append(self._grant())
        return granted

    def overdue(self, seconds: float) -> list[T]:
        """Return the owners that have had memory for at least `seconds`, if other owners wait for it."""
        if not self._waiting:
            return []
        before = self._clock() - seconds
        found = [owner for owner, (_, since) in self._granted.items() if since <= before]
        if self._whole is None or not self._fits_itself(self._next_size()):
            return found
        return [owner for owner, (_, since) in self._whole._granted.items() if since <= before]

    def _grant_parts(self) -> list[T]:
        """Grant memory to parts in turns, a message each, until none of them has a message that fits."""
        granted: list[T] = []
        passed = 0
        while passed < len(self._waiting_parts):
            part, _ = self._waiting_parts.popitem(last=False)
            if not part._waiting:
                continue
            if part._fits(part._next_size()):
                granted.append(part._grant())
                passed = 0
            else:
                passed += 1
            if part._waiting:
                self._waiting_parts[part] = None
        return granted

    def _is_behind_others(self) -> bool:
        """Return whether a part that could be granted memory waits for the whole."""
        whole = self._whole
        return whole is not None and any(each._waits_for_whole() for each in whole._waiting_parts)

    def _waits_for_whole(self) -> bool:
        return bool(self._waiting) and self._fits_itself(self._next_size())

    def _next_size(self) -> int:
        return next(iter(self._waiting.values()))

    def _fits(self, size: int) -> bool:
        return self._fits_itself(size) and (self._whole is None or self._whole._fits_itself(size))

    def _fits_itself(self, size: int) -> bool:
        return (not self._granted or self._used + size <= self._budget) and self._has_room()

    def _grant(self) -> T:
        owner, size = self._waiting.popitem(last=False)
        self._record(owner, size)
        return owner

    def _record(self, owner: T, size: int) -> None:
        self._granted[owner] = (size, self._clock())
        self._used += size
        if self._whole is not None:
            self._whole._record(owner, size)

    def _forget(self, owner: T) -> None:
        size, _ = self._granted.pop(owner, (0, 0.0))
        self._used -= size
        if self._whole is not None:
            self._whole._forget(owner)

"""Shared answers: an answer that takes a while is made once for all requests that arrived before its making began.

Owns the work under way. Few answers are made at one time, each followed by a pause in proportion to the time that it
took, so that requests without end cost a bounded share of the time. Does not know what is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic

from konnectivity.http1.handlers import Later, Response
from konnectivity.runtime import task_guard

AT_ONCE = 2  # answers that are made at one time
PAUSE_FACTOR = 4.0  # pause after an answer, as a multiple of the time that it took
MAX_PAUSE_S = 1.0


class _Work:
    """Making of one answer; `began` is infinite until it begins."""

    def __init__(self) -> None:
        self.began = float("inf")
        self.answer: Later = asyncio.get_running_loop().create_future()


class SharedAnswers:
    """Answers under way, each shared by all requests that arrived before its making began.

    Args:
        tasks: group in which answers are made.
        pause_factor: pause after an answer, as a multiple of the time that it took.
        clock: monotonic seconds, as in `Request.arrived`.

    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        pause_factor: float = PAUSE_FACTOR,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tasks = tasks
        self._pause_factor = pause_factor
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._latest: dict[Hashable, _Work] = {}  # by key: the work that more requests may join

    def __len__(self) -> int:
        """Return the number of keys with work under way."""
        return len(self._latest)

    def get(self, key: Hashable, arrived: float, make: Callable[[], Awaitable[Response]]) -> Later:
        """Return the answer of work that begins after a request arrived.

        Args:
            key: what the answer depends on.
            arrived: when the request was read.
            make: makes the answer.

        """
        work = self._latest.get(key)
        if work is None or work.began < arrived:
            work = self._latest[key] = _Work()
            task_guard.start(self._tasks, lambda: self._make(key, work, make), "answer", f"answer {key}")
        return asyncio.shield(work.answer)  # a client that leaves does not cancel the answer for others

    async def _make(self, key: Hashable, work: _Work, make: Callable[[], Awaitable[Response]]) -> None:
        async with self._slots:
            work.began = self._clock()
            try:
                work.answer.set_result(await make())
            finally:
                if not work.answer.done():
                    work.answer.set_result(None)
                if self._latest.get(key) is work:
                    del self._latest[key]
            await asyncio.sleep(min(MAX_PAUSE_S, self._pause_factor * (self._clock() - work.began)))

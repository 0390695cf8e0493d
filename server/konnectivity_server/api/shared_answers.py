"""Answers that take a while, each made once for all requests that arrived before its making began.

Owns the work under way: few at a time, with a rest behind each in proportion to what it took, so that requests without
end cost a share of the time only. Does not know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic

from konnectivity.http1.handlers import Later, Response
from konnectivity.runtime import task_guard

AT_ONCE = 2
REST = 4.0  # times what the work took
MAX_REST_S = 1.0


class _Work:
    """One answer: `began` is infinite until its making begins."""

    def __init__(self) -> None:
        self.began = float("inf")
        self.answer: Later = asyncio.get_running_loop().create_future()


class SharedAnswers:
    """Answers under way, each shared by all requests that arrived before its making began.

    Args:
        tasks: where the work runs.
        rest: how long to rest behind the work, times what it took.

    """

    def __init__(self, tasks: asyncio.TaskGroup, rest: float = REST) -> None:
        self._tasks = tasks
        self._rest = rest
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._latest: dict[Hashable, _Work] = {}  # by key: the work that may still take in requests

    def get(self, key: Hashable, arrived: float, make: Callable[[], Awaitable[Response]]) -> Later:
        """Return the answer of work that begins after a request arrived.

        Args:
            key: what the answer depends on.
            arrived: when the request was read, on the monotonic clock.
            make: makes the answer.

        """
        work = self._latest.get(key)
        if work is None or work.began < arrived:
            work = self._latest[key] = _Work()
            task_guard.start(self._tasks, lambda: self._make(key, work, make), "answer", f"answer {key}")
        return asyncio.shield(work.answer)  # a client that leaves takes it from no other

    async def _make(self, key: Hashable, work: _Work, make: Callable[[], Awaitable[Response]]) -> None:
        async with self._slots:
            work.began = monotonic()
            try:
                work.answer.set_result(await make())
            finally:
                if not work.answer.done():
                    work.answer.set_result(None)
                if self._latest.get(key) is work:
                    del self._latest[key]
            await asyncio.sleep(min(MAX_REST_S, self._rest * (monotonic() - work.began)))

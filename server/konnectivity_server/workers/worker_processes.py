"""Worker processes of one server: kept running until they are told to stop.

Owns the decision when an ended worker is started again. Does not know how a process is started, nor what it does.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from konnectivity.net.backoff import Backoff
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs

log = logs.get(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 10.0  # before an ended worker is started again
SOUND_S = 60.0  # a worker that ran for this long has started well: its end begins a new series of pauses


class Process(Protocol):
    """Process of one worker."""

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process.

        Raises:
            ProcessLookupError: the process has ended.

        """

    def kill(self) -> None:
        """Kill the process.

        Raises:
            ProcessLookupError: the process has ended.

        """


class WorkerProcesses:
    """Processes of the workers, by their number from 0.

    Args:
        count: number of workers.
        start: starts the worker of a number; raises OSError if it cannot.
        clock: monotonic seconds.

    """

    def __init__(
        self, count: int, start: Callable[[int], Awaitable[Process]], clock: Callable[[], float] | None = None
    ) -> None:
        self.count = count
        self.restarts = 0
        self._start = start
        self._clock = clock or asyncio.get_running_loop().time
        self._running: dict[int, Process] = {}
        self._stopping = False

    @property
    def running(self) -> list[int]:
        """Numbers of the workers that run, in order."""
        return sorted(self._running)

    async def run(self) -> int:
        """Keep the workers running until they have ended after `stop`.

        Returns:
            The exit code: the largest of the workers' codes, of a start that failed or of the end.

        """
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep(index), name=f"worker {index}") for index in range(self.count)]
        return max(keeper.result() for keeper in keepers)

    def stop(self) -> None:
        """Let the workers drain; called a second time, end them at once."""
        self._stopping = True
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the workers that still run."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.kill()

    async def _keep(self, index: int) -> int:
        backoff, started_once = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S), False
        while True:
            began = self._clock()
            code = await self._run(index)
            ran_s = self._clock() - began
            if self._stopping or (code == 1 and not started_once and ran_s < SOUND_S):
                if not self._stopping:
                    self.stop()  # a worker that cannot start at all ends the server, as without workers
                return max(code, 0)
            started_once = True
            if ran_s > SOUND_S:
                backoff.reset()
            self.restarts += 1
            log.error("A worker ended, starting it again", worker=index, code=code, ran_s=round(ran_s, 1))
            await asyncio.sleep(backoff.next())

    async def _run(self, index: int) -> int:
        """Run one worker from its start to its end and return its exit code: 1 if it cannot be started."""
        try:
            process = self._running[index] = await self._start(index)
        except OSError as error:  # no descriptor, process or memory left
            log.error("Cannot start a worker", worker=index, reason=words_of(error))
            return 1
        try:
            return await process.wait()
        finally:
            self._running.pop(index, None)

"""Worker processes with an injected starter: restarts, pauses, starts that fail, and the end."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager

import pytest

from konnectivity_server.workers.worker_processes import LAST_PAUSE_S, SOUND_S, WorkerProcesses


class MemoryProcess:
    """Process that ends when the test says so, or when it is signalled."""

    def __init__(self):
        self.end = asyncio.get_running_loop().create_future()
        self.signals = []
        self.obeys = True

    async def wait(self):
        return await self.end

    def send_signal(self, number):
        if self.end.done():
            raise ProcessLookupError
        self.signals.append(number)
        if self.obeys:
            self.end.set_result(0)

    def kill(self):
        self.obeys = True
        self.send_signal(signal.SIGKILL)


class Starter:
    """Starter of memory processes that records the times of starts."""

    def __init__(self):
        self.started = []
        self.times = []
        self.error = None

    async def __call__(self, index):
        if self.error is not None:
            raise self.error
        process = MemoryProcess()
        self.started.append((index, process))
        self.times.append(asyncio.get_running_loop().time())
        return process

    def last_of(self, index):
        return [process for number, process in self.started if number == index][-1]


@asynccontextmanager
async def running(starter, count=2):
    workers = WorkerProcesses(count, starter)
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(0.01)
    yield workers, task
    workers.stop()
    await asyncio.sleep(0.01)
    assert task.done()


async def test_every_worker_is_started_and_stopped():
    starter = Starter()
    async with running(starter, 3) as (workers, task):
        assert [index for index, _ in starter.started] == [0, 1, 2]
        assert workers.running == [0, 1, 2]
        workers.stop()
        assert await task == 0
    assert all(process.signals == [signal.SIGTERM] for _, process in starter.started)


async def test_a_worker_that_ends_is_started_again_while_the_others_go_on():
    starter = Starter()
    async with running(starter) as (workers, _task):
        await asyncio.sleep(SOUND_S + 1)
        starter.last_of(1).end.set_result(-9)
        await asyncio.sleep(1.0)
        assert [index for index, _ in starter.started] == [0, 1, 1]
        assert (workers.restarts, workers.running) == (1, [0, 1])


async def test_a_worker_that_ends_again_and_again_is_started_after_longer_pauses():
    starter, loop = Starter(), asyncio.get_running_loop()
    async with running(starter, 1) as (workers, _task):
        await asyncio.sleep(SOUND_S + 1)
        pauses = []
        for number in range(8):
            ended = loop.time()
            starter.last_of(0).end.set_result(7)
            await asyncio.sleep(LAST_PAUSE_S + 1)
            pauses.append(round(starter.times[number + 1] - ended, 3))
        assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
        assert workers.restarts == 8


async def test_a_worker_that_cannot_start_at_all_ends_the_server():
    starter = Starter()
    workers = WorkerProcesses(2, starter)
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(0.01)
    starter.last_of(0).end.set_result(1)
    assert await task == 1
    assert starter.last_of(1).signals == [signal.SIGTERM]
    assert workers.restarts == 0


async def test_a_worker_that_cannot_be_started_ends_the_server(caplog):
    starter = Starter()
    starter.error = OSError(11, "Resource temporarily unavailable")
    assert await WorkerProcesses(1, starter).run() == 1
    assert "Cannot start a worker" in caplog.text


async def test_a_worker_that_started_once_is_tried_for_ever():
    starter = Starter()
    async with running(starter, 1) as (workers, task):
        await asyncio.sleep(SOUND_S + 1)
        starter.last_of(0).end.set_result(0)
        starter.error = OSError(12, "Cannot allocate memory")
        await asyncio.sleep(120.0)
        assert not task.done()
        assert workers.restarts > 5
        starter.error = None
        await asyncio.sleep(LAST_PAUSE_S)
        assert workers.running == [0]


@pytest.mark.parametrize("code", [3, -11])
async def test_the_exit_code_is_the_largest_of_the_workers(code):
    starter = Starter()
    workers = WorkerProcesses(2, starter)
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(0.01)
    for _, process in starter.started:
        process.obeys = False
    workers.stop()
    starter.last_of(0).end.set_result(0)
    starter.last_of(1).end.set_result(code)
    assert await task == max(code, 0)


async def test_a_worker_that_does_not_stop_is_killed():
    starter = Starter()
    workers = WorkerProcesses(1, starter)
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(0.01)
    starter.last_of(0).obeys = False
    workers.stop()
    await asyncio.sleep(10.0)
    assert not task.done()
    workers.kill()
    await task
    assert starter.last_of(0).signals == [signal.SIGTERM, signal.SIGKILL]

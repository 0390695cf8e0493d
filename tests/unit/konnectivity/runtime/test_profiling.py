"""Pages under /debug/pprof, with profiles of the test process."""

from __future__ import annotations

import asyncio

from konnectivity.http1.handlers import Request, Response
from konnectivity.runtime import profiling
from support.memory_streams import StillLoop


def ask(path: str, query: str = "", lag: profiling.LoopLag | None = None) -> Response:
    answer = profiling.routes(lag)[path](Request("GET", path, query))
    assert isinstance(answer, Response)
    return answer


async def waits_for_the_test(done: asyncio.Event) -> None:
    await done.wait()


async def test_tasks_show_what_they_wait_for():
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(waits_for_the_test(done), name="a task of the test")
        await asyncio.sleep(0)
        body = ask("/debug/pprof/goroutine").body.decode()
        done.set()
    assert "waits_for_the_test" in body
    assert "await done.wait()" in body


async def test_the_index_names_every_page():
    index = ask("/debug/pprof/").body.decode()
    for path in profiling.routes(None):
        if path not in ("/debug/pprof", "/debug/pprof/"):
            assert path in index
    assert ask("/debug/pprof").headers["Location"] == "/debug/pprof/"


async def test_memory():
    body = ask("/debug/pprof/heap").body.decode()
    assert "peak resident memory" in body
    assert "function" in body
    assert "referred to each other" not in body


async def test_garbage_is_collected_and_counted_when_asked_for():
    ask("/debug/pprof/heap", "gc=1")
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert "objects that only referred to each other: 1\n" in ask("/debug/pprof/heap", "gc=1").body.decode()


def test_the_page_on_delays_says_how_to_measure_them():
    answer = ask("/debug/pprof/block")
    assert answer.status == 404
    assert b"--enable-contention-profiling" in answer.body


def test_a_late_timer_is_measured_and_one_in_time_is_not():
    async def measure() -> profiling.LoopLag:
        loop = asyncio.get_running_loop()
        late_s = [0.0]
        lag = profiling.LoopLag(clock=lambda: loop.time() + late_s[0])
        lag.start()
        await loop.advance(0.1)
        assert lag.worst < 1e-6
        late_s[0] = 0.3
        await loop.advance(0.1)
        lag.stop()
        return lag

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        lag = runner.run(measure())
    assert round(lag.worst, 6) == 0.3
    page = ask("/debug/pprof/block", lag=lag).body.decode()
    assert "the worst: 0.300000 s" in page

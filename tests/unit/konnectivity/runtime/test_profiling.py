"""The pages under /debug/pprof, of this very process."""

from __future__ import annotations

import asyncio

from konnectivity.http1.handlers import Request, Response
from konnectivity.runtime import profiling


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


async def test_a_profile_shows_the_busy_function():
    def busy() -> None:
        end = loop.time() + 0.7
        while loop.time() < end:
            sum(range(1000))

    loop = asyncio.get_running_loop()
    answer = profiling.routes(None)["/debug/pprof/profile"](Request("GET", "/debug/pprof/profile", "seconds=1"))
    assert isinstance(answer, asyncio.Future)
    loop.call_soon(busy)
    stacks = (await answer).body.decode().splitlines()
    counts = [int(line.rpartition(" ")[2]) for line in stacks if "busy" in line]
    assert sum(counts) > 20


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


async def test_delay_of_the_event_loop_is_seen():
    import time

    assert ask("/debug/pprof/block").status == 404
    lag = profiling.LoopLag()
    lag.start()
    await asyncio.sleep(0.05)
    time.sleep(0.3)
    await asyncio.sleep(0.15)
    lag.stop()
    assert lag.worst > 0.15
    assert "the worst: 0." in ask("/debug/pprof/block", lag=lag).body.decode()


async def test_profiles_are_taken_one_at_a_time():
    """Each takes a thread of those that look names up: a few requests for a minute of samples would stop these."""
    page = profiling.routes(None)["/debug/pprof/profile"]
    request = Request("GET", "/debug/pprof/profile", "seconds=1")
    first, second = page(request), page(request)
    assert second.status == 503
    assert (await first).status == 200
    third = page(request)
    assert (await third).status == 200

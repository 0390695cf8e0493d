"""Profiles of the test process, taken in real time."""

from __future__ import annotations

import asyncio

from konnectivity.http1.handlers import Request, Response
from konnectivity.runtime import profiling


def ask(path: str, query: str = "", lag: profiling.LoopLag | None = None) -> Response:
    answer = profiling.routes(lag)[path](Request("GET", path, query))
    assert isinstance(answer, Response)
    return answer


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
    assert sum(counts) > 5


async def test_profiles_are_taken_one_at_a_time():
    """Each profile occupies a resolver thread, so a few requests for a minute would stop lookups of names."""
    page = profiling.routes(None)["/debug/pprof/profile"]
    request = Request("GET", "/debug/pprof/profile", "seconds=1")
    first, second = page(request), page(request)
    assert second.status == 503
    assert (await first).status == 200
    third = page(request)
    assert (await third).status == 200

"""Turns of requests: by source, and within a share of the time."""

from __future__ import annotations

import asyncio

from konnectivity.http1.request_scheduler import RequestScheduler


async def test_sources_take_turns():
    done = []
    turns = RequestScheduler()
    for source, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            turns.ask(source, lambda name=f"{source}{number}": done.append(name))
    assert len(turns) == 6
    for _ in range(8):
        await asyncio.sleep(0)
    assert done == ["a0", "b0", "c0", "a1", "c1", "a2"]


async def test_work_that_raises_takes_no_turn_from_the_next():
    done = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: done.append(type(context["exception"])))
    turns = RequestScheduler()
    turns.ask("a", lambda: 1 / 0)
    turns.ask("a", lambda: done.append("next"))
    for _ in range(4):
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert done == [ZeroDivisionError, "next"]


async def test_work_outside_of_a_turn_is_charged():
    now, done = [100.0], []
    turns = RequestScheduler(share=0.5, burst_s=0.25, clock=lambda: now[0])
    turns.spent(1.0)
    turns.ask("a", lambda: done.append(now[0]))
    await asyncio.sleep(0.02)
    assert not done
    now[0] += 1.0
    async with asyncio.timeout(30):
        while not done:
            await asyncio.sleep(0.01)


async def test_work_beyond_the_share_waits():
    now, done = [100.0], []
    turns = RequestScheduler(share=0.5, burst_s=0.25, clock=lambda: now[0])

    def work():
        done.append(now[0])
        now[0] += 0.25

    for _ in range(10):
        turns.ask("a", work)
    await asyncio.sleep(0.2)
    assert len(done) == 3, "the clock stands still: what may be done ahead is done"
    now[0] += 0.5
    await asyncio.sleep(0.4)
    assert len(done) == 5
    turns.close()

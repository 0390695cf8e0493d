"""Turns of slow readers: one reader in each pass of the event loop."""

from __future__ import annotations

import asyncio
import itertools

from konnectivity.grpc.budgets.read_scheduler import MOST_HEAVY_S, ReadScheduler


async def test_each_pass_gives_one_reader_its_turn_in_the_order_of_waiting() -> None:
    loop, turns, log = asyncio.get_running_loop(), ReadScheduler(), []
    for name in "abc":
        turns.wait(lambda name=name: log.append(name), loop)
    seen = []
    while len(turns):
        await asyncio.sleep(0)
        seen.append("".join(log))
    assert seen[-1] == "abc"
    assert all(len(after) - len(before) <= 1 for before, after in itertools.pairwise(seen))
    assert turns.taken == 3


async def test_a_reader_that_waits_again_in_its_turn_goes_to_the_end() -> None:
    loop, turns, log = asyncio.get_running_loop(), ReadScheduler(), []

    def read(name: str, left: int) -> None:
        log.append(name)
        if left:
            turns.wait(lambda: read(name, left - 1), loop)

    turns.wait(lambda: read("a", 2), loop)
    turns.wait(lambda: read("b", 2), loop)
    for _ in range(20):
        await asyncio.sleep(0)
    assert log == ["a", "b", "a", "b", "a", "b"]


async def test_heavy_reads_of_one_pass_are_counted_together_and_the_next_pass_begins_anew() -> None:
    loop, turns = asyncio.get_running_loop(), ReadScheduler()
    assert [turns.crowded(MOST_HEAVY_S / 2, loop) for _ in range(4)] == [False, False, True, True]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turns.crowded(MOST_HEAVY_S / 2, loop)

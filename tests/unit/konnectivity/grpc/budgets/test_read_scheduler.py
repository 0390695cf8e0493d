"""Turns of slow readers: one reader in each pass of the event loop."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from konnectivity.grpc.budgets.read_scheduler import ALL, PART, ReadScheduler


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
    assert [turns.crowded(ALL.most_s / 2, loop) for _ in range(4)] == [False, False, True, True]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turns.crowded(ALL.most_s / 2, loop)


class Clock:
    """Clock that readers move by the time that they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_parts_take_turns_however_many_readers_each_has() -> None:
    loop, whole, log = asyncio.get_running_loop(), ReadScheduler(clock=Clock()), []
    many, few = whole.part(), whole.part()
    for number in range(5):
        many.wait(lambda number=number: log.append(f"many {number}"), loop)
    few.wait(lambda: log.append("few"), loop)
    while len(many) or len(few):
        await asyncio.sleep(0)
    assert log == ["many 0", "few", "many 1", "many 2", "many 3", "many 4"]


async def test_a_part_counts_every_read_and_others_of_a_full_pass_wait() -> None:
    loop, whole = asyncio.get_running_loop(), ReadScheduler()
    part, other = whole.part(), whole.part()
    assert not part.crowded(PART.most_s, loop)
    assert not part.full
    assert part.crowded(PART.heavy_s / 10, loop)
    assert part.full
    assert not other.full, "a full part does not fill another one"
    assert not whole.full
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not part.full


async def test_in_its_turn_a_part_reads_the_quick_ones_for_whom_there_is_time_and_one_slow_one() -> None:
    clock, log = Clock(), []
    loop, part = asyncio.get_running_loop(), ReadScheduler(clock=clock).part()

    def read(name: str, seconds: float) -> None:
        clock.now += seconds
        log.append(name)

    for name in ("slow 1", "slow 2"):
        part.wait(lambda name=name: read(name, PART.long_s), loop)
    for number in range(3):
        part.wait(lambda number=number: read(f"quick {number}", 0.6 * PART.most_s), loop, quick=True)
    turns = []
    while len(part):
        before = len(log)
        await asyncio.sleep(0)
        if len(log) > before:
            turns.append(log[before:])
    assert turns == [["quick 0", "quick 1", "slow 1"], ["quick 2", "slow 2"]]


@pytest.mark.parametrize("quick", [True, False])
async def test_a_reader_that_fails_takes_no_other_ones_turn(quick) -> None:
    loop, part, log, errors = asyncio.get_running_loop(), ReadScheduler().part(), [], []
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail() -> None:
        raise ValueError("a reader")

    part.wait(fail, loop, quick)
    part.wait(lambda: log.append("quick"), loop, quick=True)
    part.wait(lambda: log.append("slow"), loop)
    while len(part):
        await asyncio.sleep(0)
    assert sorted(log) == ["quick", "slow"]
    assert [str(error) for error in errors] == ["a reader"]

"""Turns of requests, and the connections that are given up for others."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from konnectivity.http1.connection_limit import ConnectionLimit, Stage
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


@dataclass(eq=False)
class Member:
    source: str = "a"
    stage: Stage = Stage.IDLE
    since: float = 0.0
    aborted: bool = field(default=False)

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


def full(*members):
    connections = ConnectionLimit(len(members), Counter())
    assert all(connections.add(each) for each in members)
    return connections


def test_an_idle_connection_goes_first_and_the_one_idle_for_longest():
    members = [
        Member(stage=Stage.FIRST),
        Member(stage=Stage.SILENT),
        Member(stage=Stage.IDLE, since=2),
        Member(stage=Stage.IDLE, since=1),
        Member(stage=Stage.BUSY),
    ]
    connections = full(*members)
    order = []
    while len(order) < 4:
        assert connections.add(Member(stage=Stage.FIRST, since=9))
        order += [each for each in members if each.aborted and each not in order]
    assert [members.index(each) for each in order] == [3, 2, 1, 4]
    assert connections.reached == {"health_connections": 4}


def test_where_all_wait_for_their_first_answer_the_new_one_goes():
    connections = full(*(Member(stage=Stage.FIRST) for _ in range(3)))
    assert not connections.add(Member(stage=Stage.SILENT))
    assert len(connections) == 3


def test_the_source_with_the_most_connections_loses_one():
    crowd = [Member(source="crowd", stage=Stage.FIRST, since=number) for number in range(4)]
    other = Member(source="other", stage=Stage.IDLE)
    connections = full(*crowd, other)
    assert connections.add(Member(source="third", stage=Stage.SILENT))
    assert [each.aborted for each in crowd] == [True, False, False, False]
    assert not other.aborted
    assert not connections.add(Member(source="crowd", stage=Stage.SILENT))


def test_who_has_left_is_forgotten():
    member = Member()
    connections = full(member)
    connections.remove(member)
    connections.remove(member)
    assert len(connections) == 0
    assert not connections._sources

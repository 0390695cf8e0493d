"""Queue of dials: few are started at a time, one server delays no other, and the number is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from konnectivity_agent.dial_queue import (
    MAX_LOOKUPS,
    MAX_RUNNING,
    MAX_WAIT_S,
    MAX_WAITING,
    STARTS_PER_PASS,
    DialQueue,
)
from support.memory_server import advance, in_still_time


class Dial:
    """Part of an `IncomingDial` that the queue needs."""

    protocol = "tcp"

    def __init__(self, tunnel, address="10.0.0.1:80"):
        self.tunnel = tunnel
        self.address = address
        self.cancelled = False
        self.error = None

    def failed(self, text):
        self.error = text


class Opener:
    """Opener of dials that end when the test says so."""

    def __init__(self):
        self.started = []
        self.turns = {}
        self.ends = []

    def start(self, dial, turn):
        self.started.append(dial)
        self.turns[dial] = turn
        end = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        return end


@pytest.fixture
async def opener():
    opener = Opener()
    yield opener
    for end in opener.ends:
        if not end.done():
            end.set_result(None)
    await asyncio.sleep(0)


async def passes(number):
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_dial_is_started_at_once(opener):
    queue = DialQueue(opener.start, Counter())
    queue.open(Dial("server"))
    assert len(opener.started) == 1


async def test_many_are_started_a_few_in_each_pass_up_to_the_most_and_the_rest_as_others_end(opener):
    queue = DialQueue(opener.start, reached := Counter())
    dials = [Dial("server") for _ in range(3 * MAX_RUNNING)]
    for dial in dials:
        queue.open(dial)
    assert len(opener.started) == STARTS_PER_PASS
    before = STARTS_PER_PASS
    for _ in range(200):
        await passes(1)
        assert len(opener.started) - before <= STARTS_PER_PASS
        before = len(opener.started)
    assert len(opener.started) == MAX_RUNNING
    for end in opener.ends[:100]:
        end.set_result(None)
    await passes(50)
    assert len(opener.started) == MAX_RUNNING + 100
    assert opener.started == dials[: MAX_RUNNING + 100]  # in their order
    assert not reached


async def test_a_server_with_too_many_holds_up_no_other(opener):
    queue = DialQueue(opener.start, Counter())
    for _ in range(MAX_RUNNING + MAX_WAITING):
        queue.open(Dial("hostile"))
    honest = Dial("honest")
    queue.open(honest)
    await passes(3)
    assert honest in opener.started


async def test_dials_beyond_the_most_that_wait_are_refused_and_counted(opener):
    queue = DialQueue(opener.start, reached := Counter())
    dials = [Dial("server") for _ in range(STARTS_PER_PASS + MAX_WAITING + 10)]
    for dial in dials:
        queue.open(dial)
    assert [dial for dial in dials if dial.error] == dials[-10:]
    assert dials[-1].error == "dial tcp 10.0.0.1:80: too many dials under way"
    assert reached == {"dials_per_server": 10}
    assert len(queue) == MAX_WAITING


@in_still_time
async def test_a_dial_that_was_cancelled_or_waited_too_long_is_not_started():
    opener = Opener()
    queue = DialQueue(opener.start, reached := Counter())
    running = [Dial("server") for _ in range(MAX_RUNNING)]
    for dial in running:
        queue.open(dial)
    await passes(MAX_RUNNING)
    cancelled, late = Dial("server"), Dial("server")
    queue.open(cancelled)
    queue.open(late)
    cancelled.cancelled = True
    await advance(MAX_WAIT_S + 1)
    opener.ends[0].set_result(None)
    await passes(10)
    assert opener.started == running
    assert cancelled.error is None
    assert late.error == "dial tcp 10.0.0.1:80: too many dials under way"
    assert reached == {"dials_per_server": 1}
    queue.open(last := Dial("server"))
    assert opener.started == [*running, last]


async def test_nothing_is_kept_of_a_server_without_dials():
    queue = DialQueue(lambda dial, turn: None, Counter())
    for number in range(100):
        queue.open(Dial(f"server-{number}"))
    await passes(20)
    assert not queue._lanes
    assert len(queue) == 0


async def test_names_that_no_one_answers_for_hold_up_no_address(opener):
    queue = DialQueue(opener.start, Counter())
    names = [Dial("server", f"n{number}.silent.test:80") for number in range(MAX_LOOKUPS + 100)]
    for dial in names:
        queue.open(dial)
    await passes(MAX_LOOKUPS // STARTS_PER_PASS + 10)
    assert opener.started == names[:MAX_LOOKUPS]
    queue.open(address := Dial("server"))
    await passes(3)
    assert opener.started[-1] is address
    opener.ends[0].set_result(None)
    await passes(3)
    assert opener.started[-1] is names[MAX_LOOKUPS]


async def test_dials_whose_names_are_known_connect_in_turn_as_there_is_room(opener):
    queue = DialQueue(opener.start, Counter())
    for _ in range(MAX_RUNNING - 2):
        queue.open(Dial("server"))
    await passes(MAX_RUNNING)
    names = [Dial("server", f"n{number}.test:80") for number in range(5)]
    for dial in names:
        queue.open(dial)
    await passes(3)
    assert opener.started[-5:] == names
    connecting = []

    async def connect(dial):
        await opener.turns[dial].to_connect()
        connecting.append(dial)

    def end(dial):
        opener.ends[opener.started.index(dial)].set_result(None)

    tasks = [asyncio.create_task(connect(dial)) for dial in names]
    await passes(5)
    assert connecting == names[:2]
    tasks[2].cancel()
    end(names[2])
    end(names[0])
    await passes(5)
    assert connecting == [names[0], names[1], names[3]]
    queue.open(address := Dial("server"))
    await passes(3)
    assert address not in opener.started
    end(names[1])
    end(names[3])
    await passes(5)
    assert connecting == [names[0], names[1], names[3], names[4]]
    assert opener.started[-1] is address
    for each in opener.ends:
        if not each.done():
            each.set_result(None)
    await passes(5)
    assert not queue._lanes

"""Memory for large messages: which messages are granted it, and in which order."""

from __future__ import annotations

import pytest

from konnectivity.grpc.budgets.message_memory import MessageMemory


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory(clock):
    return MessageMemory(budget=100, most_held=1000, clock=clock)


def test_memory_is_granted_in_the_order_of_the_requests(memory):
    assert memory.ask("a", 60)
    assert memory.ask("b", 40)
    assert not memory.ask("c", 50)
    assert not memory.ask("d", 1), "there is room for it, but it would pass the others for ever"
    assert memory.ask("a", 60), "it has its grant"
    assert memory.leave("b") == []
    assert memory.leave("a") == ["c", "d"]
    assert memory.ask("c", 50)


def test_a_message_above_the_budget_is_alone(memory):
    assert memory.ask("a", 10)
    assert not memory.ask("large", 101)
    assert memory.leave("a") == ["large"]
    assert not memory.ask("b", 1)
    assert memory.leave("large") == ["b"]


def test_who_leaves_the_queue_makes_room_for_the_next(memory):
    assert memory.ask("a", 90)
    assert not memory.ask("b", 50)
    assert not memory.ask("c", 10)
    assert memory.leave("b") == ["c"]
    assert memory.leave("nobody") == []


def test_who_is_overdue_while_others_wait(memory, clock):
    memory.ask("a", 50)
    clock.now += 5
    memory.ask("b", 50)
    clock.now += 6
    assert memory.overdue(10) == [], "nobody waits"
    memory.ask("c", 50)
    assert memory.overdue(10) == ["a"]
    assert memory.leave("a") == ["c"]
    assert memory.overdue(0) == []


def test_nothing_is_granted_while_the_process_has_no_room():
    room = [True]
    memory = MessageMemory(100, 1000, Clock(), lambda: room[0])
    assert memory.ask("a", 10)
    room[0] = False
    assert not memory.ask("b", 10)
    assert memory.leave("a") == []
    assert memory.grant() == []
    room[0] = True
    assert memory.grant() == ["b"]

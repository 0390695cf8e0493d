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


@pytest.fixture
def parts(memory):
    """Return the memories of two tenants, each of which may use most of the whole."""
    return [memory.part(80, 600, lambda: True) for _ in range(2)]


def test_a_part_grants_no_more_than_its_share_and_leaves_the_rest_to_others(parts):
    one, other = parts
    assert one.ask("a", 60)
    assert not one.ask("b", 30), "it is more than the share"
    assert other.ask("c", 40), "the share of the other part is free, and so is the whole"
    assert one.leave("a") == ["b"]


def test_parts_that_wait_for_the_whole_take_turns(parts):
    one, other = parts
    assert one.ask("a", 70)
    assert [one.ask(name, 10) for name in "bcd"] == [True, False, False], "their share is used up"
    assert not other.ask("e", 30), "the whole is used up"
    assert not other.ask("f", 10), "it would pass another message for ever"
    assert one.leave("a") == ["c", "e", "d", "f"]


def test_a_message_that_fits_does_not_pass_a_part_that_waits_for_the_whole(parts):
    one, other = parts
    assert one.ask("a", 60)
    assert not other.ask("b", 50)
    assert not one.ask("c", 20), "the message of the other part came first"
    assert one.leave("a") == ["b", "c"]


def test_a_part_that_waits_for_its_own_share_disturbs_no_other(parts, clock):
    one, other = parts
    assert one.ask("a", 60)
    assert other.ask("b", 40)
    assert not one.ask("c", 60)
    clock.now += 20
    assert one.overdue(10) == ["a"], "the other part is not at fault"
    assert other.overdue(10) == [], "it waits for nothing"
    assert not other.ask("d", 5), "the whole is used up"
    assert set(other.overdue(10)) == {"a", "b"}


def test_a_part_that_ended_its_wait_is_passed_over(parts):
    one, other = parts
    assert one.ask("a", 60)
    assert not other.ask("b", 50)
    assert other.leave("b") == []
    assert one.ask("c", 20)


def test_a_part_may_hold_its_equal_share_however_much_others_hold(clock):
    memory = MessageMemory(budget=100, most_held=100, clock=clock)
    one, other = (memory.part(100, 100, lambda: True) for _ in range(2))
    assert one.count(90)
    assert other.count(40), "less than half"
    assert not other.count(20)
    assert not one.count(1)
    assert other.count(-60)
    assert not one.count(10), "more than the whole"
    assert one.count(-1)

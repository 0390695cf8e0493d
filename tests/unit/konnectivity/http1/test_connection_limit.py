"""Limit of connections: old connections are closed for new ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from konnectivity.http1.connection_limit import ConnectionLimit, Stage


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

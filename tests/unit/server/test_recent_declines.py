"""Recent declines: connections that declined a dial are avoided for a while, longer each time."""

from __future__ import annotations

from konnectivity_server.recent_declines import FIRST_S, LONGEST_S, MAX_CONNECTIONS, RecentDeclines


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def spared_for(declines, clock):
    began = clock.now
    while declines.holds("a"):
        clock.now += 0.5
    return clock.now - began


def test_longer_each_time_until_it_has_not_declined_for_a_while():
    clock = Clock()
    declines = RecentDeclines(clock)
    assert not declines.holds("a")
    found = []
    for _ in range(6):
        declines.add("a")
        declines.add("a")  # decline of another dial at the same time
        assert not declines.holds("b")
        found.append(spared_for(declines, clock))
    assert found == [FIRST_S, 10.0, 20.0, 40.0, LONGEST_S, LONGEST_S]
    clock.now += LONGEST_S
    declines.add("a")
    assert spared_for(declines, clock) == FIRST_S


def test_there_is_an_end_to_what_is_kept():
    declines = RecentDeclines(Clock())
    for number in range(MAX_CONNECTIONS + 10):
        declines.add(str(number))
    assert not declines.holds("0")
    assert declines.holds(str(MAX_CONNECTIONS + 9))

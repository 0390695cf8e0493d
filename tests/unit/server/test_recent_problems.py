"""Recent problems: repeated ones are listed once, and the oldest are dropped."""

from __future__ import annotations

from konnectivity_server.recent_problems import KEPT, LONGEST, RecentProblems


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_same_again_is_counted_and_the_latest_comes_first():
    clock = Clock()
    recent = RecentProblems(("reason", "agent"), clock)
    recent.add("refused", "a", took=1)
    clock.now += 5
    recent.add("timeout", None, took=2)
    clock.now += 5
    recent.add("refused", "a", took=3)
    clock.now += 1
    assert recent.listed() == [
        {"reason": "refused", "agent": "a", "count": 2, "ago": 1.0, "first_ago": 11.0, "took": 3},
        {"reason": "timeout", "agent": None, "count": 1, "ago": 6.0, "first_ago": 6.0, "took": 2},
    ]


def test_there_is_an_end_to_what_is_kept():
    recent = RecentProblems(("text",), Clock())
    for number in range(3 * KEPT):
        recent.add(f"{number}")
    listed = recent.listed()
    assert [each["text"] for each in listed] == [f"{number}" for number in reversed(range(2 * KEPT, 3 * KEPT))]
    recent.add("x" * 1_000_000)
    assert len(recent.listed()[0]["text"]) == LONGEST

"""Debts of frontends that take dials back."""

from __future__ import annotations

import pytest

from konnectivity_server import cancellations
from konnectivity_server.cancellations import Cancellations


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_so_many_at_once_and_so_many_a_second(clock):
    kept = Cancellations(10, clock)
    for _ in range(9):
        kept.add("a")
    assert not kept.too_many("a")
    kept.add("a")
    assert kept.too_many("a")
    clock.now += 0.05
    assert kept.too_many("a")
    clock.now += 0.1
    assert not kept.too_many("a")
    for _ in range(100):  # ten a second are no debt
        clock.now += 0.1
        assert not kept.too_many("a")
        kept.add("a")


def test_each_has_its_own(clock):
    kept = Cancellations(1, clock)
    kept.add("a")
    assert kept.too_many("a")
    assert not kept.too_many("b")


def test_the_oldest_are_forgotten_when_there_are_very_many(clock, monkeypatch):
    monkeypatch.setattr(cancellations, "MAX_FRONTENDS", 2)
    kept = Cancellations(1, clock)
    for name in ("a", "b", "a", "c"):
        kept.add(name)
    assert [kept.too_many(name) for name in "abc"] == [True, False, True]

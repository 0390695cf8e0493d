"""Time limit of a peer that must make progress."""

from __future__ import annotations

import asyncio
import operator

import pytest

from konnectivity.runtime.progress_limit import ProgressLimit
from support.memory_server import advance, in_still_time


class Reader:
    """Peer that reads what waits for it."""

    def __init__(self) -> None:
        self.unread = 100
        self.given_up = 0

    def limit(self, timeout_s: float = 60.0) -> ProgressLimit[int]:
        loop = asyncio.get_running_loop()
        return ProgressLimit(loop, timeout_s, lambda: self.unread, self.give_up, operator.gt)

    def give_up(self) -> None:
        self.given_up += 1


@in_still_time
async def test_it_expires_once_when_nothing_moves() -> None:
    reader = Reader()
    reader.limit()
    for _ in range(11):
        await advance(5.9)
    assert reader.given_up == 1
    await advance(600.0)
    assert reader.given_up == 1


@pytest.mark.parametrize(("unread", "given_up"), [(99, 0), (100, 1), (101, 1)])
@in_still_time
async def test_only_a_change_in_the_right_direction_is_progress(unread, given_up) -> None:
    reader = Reader()
    reader.limit()
    await advance(10.0)
    reader.unread = unread
    for _ in range(9):
        await advance(6.0)
    assert reader.given_up == given_up


@in_still_time
async def test_after_progress_it_ends_at_most_a_tenth_late() -> None:
    reader = Reader()
    reader.limit()
    reader.unread = 50
    for _ in range(10):
        await advance(6.0)
    assert reader.given_up == 0
    await advance(6.1)
    assert reader.given_up == 1


@in_still_time
async def test_a_cancelled_limit_does_not_expire() -> None:
    reader = Reader()
    limit = reader.limit()
    await advance(30.0)
    limit.cancel()
    for _ in range(20):
        await advance(6.0)
    assert reader.given_up == 0

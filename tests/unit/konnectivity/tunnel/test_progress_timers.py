"""Time limits of connections that must make progress to stay open."""

from __future__ import annotations

import asyncio

from konnectivity.tunnel.progress_timers import ProgressTimers
from support.memory_server import advance, in_still_time


class Closing:
    """Connection that is closing."""

    def __init__(self) -> None:
        self.sent = 0
        self.over = 0

    def progress(self) -> tuple[int, int]:
        return self.sent, 0

    def expired(self) -> None:
        self.over += 1


@in_still_time
async def test_a_connection_without_progress_expires_once() -> None:
    timers, connection = ProgressTimers(asyncio.get_running_loop()), Closing()
    timers.start(connection, 30.0)
    await advance(29.0)
    assert connection.over == 0
    await advance(1.0)
    await advance(100.0)
    assert connection.over == 1


@in_still_time
async def test_progress_gives_the_whole_time_again() -> None:
    timers, connection = ProgressTimers(asyncio.get_running_loop()), Closing()
    timers.start(connection, 30.0)
    for _ in range(5):
        connection.sent += 1
        await advance(30.0)
    assert connection.over == 0
    await advance(30.0)
    assert connection.over == 1


@in_still_time
async def test_a_limit_ends_at_most_a_tenth_late() -> None:
    timers, connection = ProgressTimers(asyncio.get_running_loop()), Closing()
    timers.start(connection, 30.0)
    connection.sent += 1
    await advance(3.0)
    await advance(29.0)
    assert connection.over == 0
    await advance(4.0)
    assert connection.over == 1


@in_still_time
async def test_a_later_limit_replaces_an_earlier_one() -> None:
    timers, connection = ProgressTimers(asyncio.get_running_loop()), Closing()
    timers.start(connection, 1.0)
    timers.start(connection, 60.0)
    await advance(59.0)
    assert connection.over == 0
    await advance(1.0)
    assert connection.over == 1


@in_still_time
async def test_a_cancelled_limit_has_no_effect() -> None:
    timers, connection = ProgressTimers(asyncio.get_running_loop()), Closing()
    timers.start(connection, 1.0)
    timers.cancel(connection)
    timers.cancel(connection)
    await advance(100.0)
    assert connection.over == 0

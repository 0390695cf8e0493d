"""Guard of tasks and callbacks: an exception that no code expected ends one task, and never the program.

Owns the counts of such exceptions in this process and the rate of their log lines. Does not know what the tasks do.

A TaskGroup cancels all its tasks when one of them raises. Every task that serves a peer, a request or a file therefore
starts here: with `start` if its work ends, with `start_loop` if its work lasts as long as the program.

A TaskGroup that ends takes no more tasks, but peers ask for work until their connections are closed. A task that begins
so late is cancelled before its work begins, as the tasks of the group are.
"""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

LOG_INTERVAL_S = 10.0  # at most one log line per kind of task in this time
RESTART_PAUSE_S = 5.0  # before a loop that raised begins again
MAX_NAME = 200  # characters of a task's name in a log line: peers choose parts of it
MAX_TRACE = 8192  # characters of a traceback in a log line: the message of an exception may hold a peer's text

_ENDING = (" is shutting down", " is finished")  # asyncio's words for a group that takes no more tasks

counts: Counter[str] = Counter()  # unexpected exceptions since the start of the process, by kind of task

_logger = logging.getLogger(__name__)
_logged_at: dict[str, float] = {}  # time of the last log line, by kind of task
_left_out: Counter[str] = Counter()  # exceptions by kind that got no log line since the last one


def start(
    tasks: asyncio.TaskGroup,
    work: Callable[[], Awaitable[T]],
    kind: str,
    name: str = "",
    failed: Callable[[], object] | None = None,
) -> asyncio.Task[T | None]:
    """Start a task whose exceptions are counted and logged, and never reach the task group.

    Args:
        tasks: the group that owns the task.
        work: makes the coroutine that the task runs.
        kind: what the task does, in one of a fixed set of words: the label of the metric.
        name: which of its kind the task is, for people; empty: the kind.
        failed: called after an unexpected exception, to answer the peer or to release what the task held.

    Returns:
        The task. Its result is None after an unexpected exception.

    """
    return _create(tasks, _guarded(work, kind, name or kind, failed), name or kind)


def start_loop(
    tasks: asyncio.TaskGroup,
    work: Callable[[], Awaitable[None]],
    kind: str,
    pause_s: float = RESTART_PAUSE_S,
) -> asyncio.Task[None]:
    """Start a task that runs until it is cancelled, and begins its work again after an unexpected exception.

    Args:
        tasks: the group that owns the task.
        work: makes the coroutine that the task runs, once more after each exception.
        kind: what the task does, in one of a fixed set of words: the label of the metric.
        pause_s: seconds between an exception and the next beginning.

    """
    return _create(tasks, _repeated(work, kind, pause_s), kind)


def record(kind: str, error: BaseException | None, name: str = "", clock: Callable[[], float] = monotonic) -> None:
    """Count an unexpected exception, and log its traceback unless its kind was logged within LOG_INTERVAL_S."""
    counts[kind] += 1
    now = clock()
    if now < _logged_at.get(kind, -math.inf) + LOG_INTERVAL_S:
        _left_out[kind] += 1
        return
    _logged_at[kind] = now
    fields: dict[str, object] = {"task": (name or kind)[:MAX_NAME]}
    if left_out := _left_out.pop(kind, 0):
        fields["left_out"] = left_out
    if error is not None:
        fields["trace"] = "".join(traceback.format_exception(error))[-MAX_TRACE:]
    _logger.error("Unexpected error, the program goes on: please report it", extra={"fields": fields}, stacklevel=2)


def guard_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    """Count and log, at a bounded rate, the exceptions of the loop's own callbacks: protocols, timers, readers."""
    loop.set_exception_handler(_callback_raised)


def _callback_raised(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    record("callback", context.get("exception"), str(context.get("message", "")))


def _create(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Create a task of a group; if the group is ending, return a task that is cancelled before its work begins."""
    try:
        return tasks.create_task(work, name=name)
    except RuntimeError as error:
        work.close()  # since Python 3.13 the group has closed it
        if not str(error).endswith(_ENDING):
            raise
        late: asyncio.Task[T] = asyncio.get_running_loop().create_task(_never(), name=name)
        late.cancel()
        return late


async def _never() -> Any:
    """Stand for the work of a task that is cancelled before it begins."""


async def _guarded(
    work: Callable[[], Awaitable[T]], kind: str, name: str, failed: Callable[[], object] | None
) -> T | None:
    try:
        return await work()
    except Exception as error:
        record(kind, error, name)
    if failed is not None:
        try:
            failed()
        except Exception as error:
            record(kind, error, name)
    return None


async def _repeated(work: Callable[[], Awaitable[None]], kind: str, pause_s: float) -> None:
    task = asyncio.current_task()
    while True:
        try:
            await work()
            return
        except Exception as error:
            record(kind, error)
        if task is not None and task.cancelling():  # the exception came out of the work's own end
            return
        await asyncio.sleep(pause_s)

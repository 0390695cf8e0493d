"""Unexpected exceptions: counted, logged at a bounded rate, and kept from the task group."""

from __future__ import annotations

import ast
import asyncio
import logging

import pytest

from konnectivity.runtime import task_guard
from support.checkout import ROOT

# Tasks whose end is the program's, and those of an orderly end: (file, function).
PROGRAMS = {
    ("server/konnectivity_server/workers/supervisor.py", "run"),
    ("agent/konnectivity_agent/agent_app.py", "run"),
    ("konnectivity/forward/forward_app.py", "run"),
    # The task that keeps a worker running survives the errors of that worker.
    ("server/konnectivity_server/workers/worker_processes.py", "WorkerProcesses.run"),
    ("konnectivity/grpc/grpcio_stream.py", "ServerStream.run"),  # inside a call, which grpcio ends alone
    ("konnectivity/grpc/grpcio_stream.py", "ClientStream.run"),  # inside a call, which is guarded
}


@pytest.fixture(autouse=True)
def fresh():
    task_guard.counts.clear()
    task_guard._logged_at.clear()
    task_guard._left_out.clear()


async def broken() -> None:
    raise RuntimeError("broken on purpose")


async def test_an_exception_ends_its_task_and_no_other():
    told = []
    async with asyncio.TaskGroup() as tasks:
        broke = asyncio.Event()
        other = tasks.create_task(broke.wait())
        task = task_guard.start(tasks, broken, "test", failed=lambda: (told.append(True), broke.set()))
    assert other.result() is True
    assert task.result() is None
    assert told == [True]
    assert task_guard.counts == {"test": 1}


async def test_who_is_told_may_raise_as_well():
    async with asyncio.TaskGroup() as tasks:
        task_guard.start(tasks, broken, "test", failed=lambda: 1 / 0)
    assert task_guard.counts == {"test": 2}


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_coroutine():
    async with asyncio.TaskGroup() as tasks:
        task_guard.start(tasks, broken, "test").cancel()
    assert not task_guard.counts


@pytest.mark.parametrize("start", [task_guard.start, task_guard.start_loop])
async def test_a_task_that_begins_while_its_group_ends_is_cancelled_before_its_work_begins(start):
    began, late = [], []

    async def work() -> None:
        began.append(True)

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            late.append(start(tasks, work, "test"))
            await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(slow_to_end())
            await asyncio.sleep(0)
            raise ValueError("the end of the group")
    late.append(start(tasks, work, "test"))
    await asyncio.sleep(0)
    assert [task.cancelled() for task in late] == [True, True]
    assert not began
    assert not task_guard.counts


@pytest.mark.parametrize("start", [task_guard.start, task_guard.start_loop])
async def test_a_group_that_has_not_begun_is_a_mistake_of_the_caller_and_takes_no_task(start):
    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="has not been entered"):
        start(asyncio.TaskGroup(), work, "test")


async def test_a_loop_begins_again_and_ends_when_it_is_cancelled():
    begun = asyncio.Queue()

    async def work():
        begun.put_nowait(None)
        raise RuntimeError("broken on purpose")

    async with asyncio.TaskGroup() as tasks:
        task = task_guard.start_loop(tasks, work, "test", pause_s=0.0)
        for _ in range(3):
            await begun.get()
        task.cancel()
    assert task_guard.counts["test"] >= 2


async def test_a_loop_that_raises_while_it_is_cancelled_ends():
    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            raise RuntimeError("broken on purpose")

    async with asyncio.TaskGroup() as tasks:
        task = task_guard.start_loop(tasks, work, "test")
        await asyncio.sleep(0)
        task.cancel()
    assert task_guard.counts == {"test": 1}


async def test_a_callback_is_counted_and_the_loop_goes_on(caplog):
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    task_guard.guard_callbacks(loop)
    try:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    assert task_guard.counts == {"callback": 1}
    assert "ZeroDivisionError" in caplog.records[0].fields["trace"]


def test_a_thousand_exceptions_of_one_kind_are_one_line(caplog):
    with caplog.at_level(logging.ERROR):
        for _ in range(1000):
            task_guard.record("test", RuntimeError("x" * 100_000), "n" * 100_000)
        task_guard.record("other", RuntimeError("broken on purpose"))
    assert [record.fields["task"][:5] for record in caplog.records] == ["nnnnn", "other"]
    assert sum(len(str(value)) for value in caplog.records[0].fields.values()) < 10_000
    assert task_guard.counts == {"test": 1000, "other": 1}


def test_the_next_line_says_how_many_were_left_out(caplog):
    for now in (100.0, 100.0, 100.0, 100.0 + task_guard.LOG_INTERVAL_S):
        task_guard.record("test", RuntimeError("broken on purpose"), clock=lambda now=now: now)
    assert [record.fields.get("left_out") for record in caplog.records] == [None, 2]


def test_every_task_of_the_product_is_guarded():
    """A bare `create_task` that raises ends its whole task group, so only the programs' main tasks use it."""
    found = set()
    for folder in ("konnectivity", "server", "agent"):
        for path in (ROOT / folder).rglob("*.py"):
            where = str(path.relative_to(ROOT))
            if where == "konnectivity/runtime/task_guard.py" or where.startswith("konnectivity/testing/"):
                continue
            found |= {(where, name) for name in _creators(ast.parse(path.read_text()), "")}
    assert found == PROGRAMS


def _creators(node: ast.AST, inside: str) -> set[str]:
    found = set()
    for child in ast.iter_child_nodes(node):
        name = inside
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{inside}.{child.name}" if inside else child.name
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr == "create_task":
            found.add(inside)
        found |= _creators(child, name)
    return found

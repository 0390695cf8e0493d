"""Memory of incomplete messages: counted, bounded, granted in turn, and given back; on a clock that stands still."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator

import pytest

from konnectivity.grpc.budgets.call_memory import CallMemory, IncompleteMessages
from konnectivity.grpc.budgets.message_memory import SMALL_MESSAGE, MessageMemory
from support.memory_streams import StillLoop

LARGE = 2 * SMALL_MESSAGE


class Call:
    """Call that records the actions of its memory."""

    def __init__(self, connection: IncompleteMessages) -> None:
        self.log: list[str] = []
        self.memory = CallMemory(connection, self)

    def withhold_credit(self) -> None:
        self.log.append("withhold")

    def return_credit(self) -> None:
        self.log.append("return")

    def refuse_incomplete(self) -> None:
        self.log.append("refuse")
        self.memory.close()


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    loop.close()


def connection(
    loop: StillLoop, memory: MessageMemory[CallMemory] | None = None, limit: int = 100
) -> IncompleteMessages:
    return IncompleteMessages(limit, memory, 30.0, loop.call_later, Counter())


def shared(loop: StillLoop, most_held: int = 1 << 30) -> MessageMemory[CallMemory]:
    """Return memory for one large message at a time."""
    return MessageMemory(LARGE, most_held, loop.time)


def test_the_call_that_exceeds_the_limit_of_its_connection_is_refused(loop: StillLoop) -> None:
    both = connection(loop)
    first, second = Call(both), Call(both)
    first.memory.count(60, 200)
    second.memory.count(40, 200)
    assert (first.log, second.log, both.held) == ([], [], 100)
    second.memory.count(41, 200)
    assert (first.log, second.log, both.held) == ([], ["refuse"], 60)


def test_bytes_of_a_message_that_becomes_complete_are_given_back(loop: StillLoop) -> None:
    one = connection(loop)
    call = Call(one)
    call.memory.count(60, 200)
    call.memory.count(0, 0)
    assert one.held == call.memory.held == 0


def test_a_small_message_asks_for_no_grant(loop: StillLoop) -> None:
    call = Call(connection(loop, shared(loop)))
    call.memory.count(10, SMALL_MESSAGE)
    assert not call.memory.pending
    call.memory.count(11, SMALL_MESSAGE + 1)
    assert call.memory.pending
    assert call.log == []


def test_a_second_large_message_waits_until_the_first_is_complete(loop: StillLoop) -> None:
    memory = shared(loop)
    first, second = (Call(connection(loop, memory)) for _ in range(2))
    first.memory.count(10, LARGE)
    second.memory.count(10, LARGE)
    assert (first.memory.waits, second.memory.waits, second.log) == (False, True, ["withhold"])
    first.memory.leave()
    assert second.log == ["withhold", "return"]
    assert not second.memory.waits


def test_a_paused_call_keeps_no_memory_and_asks_again_when_resumed(loop: StillLoop) -> None:
    memory = shared(loop)
    first, second = (Call(connection(loop, memory)) for _ in range(2))
    first.memory.count(10, LARGE)
    second.memory.count(10, LARGE)
    first.memory.pause()
    assert second.log == ["withhold", "return"]
    first.memory.resume(LARGE)
    assert first.memory.waits
    second.memory.close()
    assert first.log == ["withhold", "return"]


def test_a_message_that_stays_incomplete_is_refused_while_another_one_waits(loop: StillLoop) -> None:
    async def run() -> None:
        memory = shared(loop)
        first, second = (Call(connection(loop, memory)) for _ in range(2))
        first.memory.count(10, LARGE)
        await loop.advance(60.0)
        assert first.log == []
        second.memory.count(10, LARGE)
        await loop.advance(1.1)
        assert first.log == ["refuse"]
        assert second.log == ["withhold", "return"]
        second.memory.close()
        assert memory.held == 0

    loop.run_until_complete(run())


def test_the_call_that_exceeds_the_bound_of_all_connections_is_refused(loop: StillLoop) -> None:
    memory = shared(loop, most_held=100)
    first, second = (Call(connection(loop, memory)) for _ in range(2))
    first.memory.count(90, 90)
    second.memory.count(20, 90)
    assert (first.log, second.log, memory.held) == ([], ["refuse"], 90)


def test_a_closed_call_is_freed_without_a_garbage_collection() -> None:
    call = Call(IncompleteMessages(1000, None, 10.0, lambda *_: None, Counter()))
    freed = weakref.ref(call)
    call.memory.close()
    gc.disable()
    try:
        del call
        assert freed() is None
    finally:
        gc.enable()

"""Turns on a shared stream: by bytes, quiet senders first, no sender starved."""

from __future__ import annotations

from collections.abc import Iterator

from konnectivity.tunnel.scheduler import QUANTUM, Scheduler


class Stream:
    """Stream that accepts a number of turns, then pauses the scheduler."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.scheduler.pause()
        self.log: list[str] = []
        self.room = 0

    def turn_taken(self, name: str) -> None:
        self.log.append(name)
        self.room -= 1
        if not self.room:
            self.scheduler.pause()

    def take(self, turns: int) -> None:
        """Let the stream take `turns` turns."""
        self.room = turns
        self.scheduler.resume()
        self.scheduler.pause()

    def send(self, name: str, size: int) -> None:
        self.scheduler.add(Sender(self, name, size))


class Sender:
    def __init__(self, stream: Stream, name: str, size: int) -> None:
        self.stream = stream
        self.name = name
        self.size = size

    def take_turn(self, quantum: int) -> bool:
        self.size -= min(self.size, quantum)
        self.stream.turn_taken(self.name)
        return self.size > 0


def names() -> Iterator[str]:
    yield from "abc"


def test_senders_of_equal_size_get_equal_shares() -> None:
    stream = Stream()
    for name in names():
        stream.send(name, 10 * QUANTUM)
    stream.take(30)
    assert sorted(stream.log) == ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    stream.scheduler.resume()
    assert stream.scheduler.clear


def test_a_keystroke_passes_bulk() -> None:
    stream = Stream()
    for number in range(20):
        stream.send(f"bulk{number}", 100 * QUANTUM)
    stream.take(60)  # each sender has had its first turn
    stream.log.clear()
    stream.send("key", 1)
    stream.take(2)
    assert "key" in stream.log


def test_many_keystrokes_do_not_starve_bulk() -> None:
    stream = Stream()
    stream.send("bulk", 100 * QUANTUM)
    stream.take(1)
    for _ in range(50):
        stream.send("key", 1)
        stream.send("key", 1)
        stream.take(2)
    assert stream.log.count("bulk") > 40


def test_a_sender_may_go_without_a_turn_while_nobody_waits_and_the_stream_takes_more() -> None:
    stream = Stream()
    assert not stream.scheduler.clear
    stream.scheduler.resume()
    assert stream.scheduler.clear
    stream.scheduler.pause()
    stream.send("a", 1)
    assert stream.log == []
    stream.take(1)
    assert stream.log == ["a"]


def test_a_sender_that_is_added_while_the_stream_takes_more_has_its_turn_at_once() -> None:
    stream = Stream()
    stream.scheduler.resume()
    stream.send("a", QUANTUM)
    assert stream.log == ["a"]
    assert stream.scheduler.clear

"""Every order of events on a pair of HTTP/2 connections: two streams, three frames each way, resets at any step.

Bytes pass from one end to the other a whole write at a time. In every state both ends agree on what was sent and
received, and no end takes the other for a violator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from konnectivity.http2 import Http2Connection, Settings, events
from simulation.exhaustive import Found

FRAMES = 2  # DATA frames of each side of each stream, of 3 bytes each
WINDOW = 4  # bytes: so that windows run out
REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a"), ("content-type", "b")]
Step = tuple[str, int, int]  # kind, end (0: client, 1: server), stream
STATES = ("idle", "open", "half-closed (local)", "half-closed (remote)", "closed")


class _End:
    def __init__(self, client: bool) -> None:
        self.http2 = Http2Connection(client, Settings(initial_window_size=WINDOW, enable_push=0 if client else 1))
        self.sent: Counter[int] = Counter()
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()  # streams whose end was received
        self.finished: set[int] = set()  # streams that this end has ended
        self.reset: set[int] = set()
        self.line: list[bytes] = []  # written, and not received by the other end
        self.failed = ""


class StreamSystem:
    """Two ends that have exchanged their settings."""

    def __init__(self, taken: Counter[tuple[str, str]] | None = None) -> None:
        self.ends = (_End(True), _End(False))
        self.taken: Counter[tuple[str, str]] = Counter() if taken is None else taken
        for _ in range(3):
            self._write()
            for number in (0, 1):
                while self.ends[number].line:
                    self._receive(1 - number, self.ends[number].line.pop(0))

    def enabled(self) -> Iterator[Step]:
        """Yield what can happen."""
        client = self.ends[0]
        opened = len(client.finished | set(client.sent) | client.reset)
        if opened < 2:
            yield "open", 0, 2 * opened + 1
        for number, end in enumerate(self.ends):
            for stream in list(end.http2.streams):
                if stream in end.reset:
                    continue
                if stream not in end.finished:
                    if end.sent[stream] < FRAMES:
                        yield "data", number, stream
                    yield "end", number, stream
                yield "reset", number, stream
        for number, end in enumerate(self.ends):
            if end.line:
                yield "receive", 1 - number, 0

    def happen(self, step: Step) -> None:
        """Take one step."""
        kind, number, stream_id = step
        end = self.ends[number]
        if kind == "receive":
            self._receive(number, self.ends[1 - number].line.pop(0))
            self._write()
            return
        self.taken[self.state_of(number, stream_id), f"send {kind}"] += 1
        if kind == "open":
            end.http2.open_stream(REQUEST)
            end.sent[stream_id] += 0
        elif kind == "data":
            end.sent[stream_id] += 1
            end.http2.send_data(end.http2.streams[stream_id], bytes([end.sent[stream_id]]) * 3)
        elif kind == "end":
            end.finished.add(stream_id)
            end.http2.end_stream(stream_id)
        else:
            end.reset.add(stream_id)
            end.http2.reset_stream(stream_id)
        self._write()

    def state_of(self, number: int, stream_id: int) -> str:
        """Return the state of a stream at one end, by RFC 9113 section 5.1."""
        http2 = self.ends[number].http2
        stream = http2.streams.get(stream_id)
        if stream is None:
            return "idle" if http2._table.is_idle(stream_id) else "closed"
        if stream.local_closed:
            return "half-closed (local)"
        return "half-closed (remote)" if stream.remote_closed else "open"

    def _write(self) -> None:
        for end in self.ends:
            if out := end.http2.take():
                end.line.append(b"".join(out))

    def _receive(self, number: int, data: bytes) -> None:
        end = self.ends[number]
        for event in end.http2.receive(data):
            stream = getattr(event, "stream_id", None)
            if isinstance(event, events.DataReceived):
                end.received[event.stream_id] = end.received.get(event.stream_id, b"") + bytes(event.data)
                if event.credit:
                    end.http2.acknowledge(event.stream_id, event.credit)
                if event.end_stream:
                    end.ended.add(event.stream_id)
            elif isinstance(event, events.HeadersReceived) and event.end_stream:
                end.ended.add(event.stream_id)
            elif isinstance(event, events.ConnectionFailed):
                end.failed = event.message
            elif isinstance(event, events.StreamEnded) and stream is not None:
                end.reset.add(stream)
            if stream is not None:
                self.taken[self.state_of(number, stream), f"receive {type(event).__name__}"] += 1

    def problems(self) -> Iterator[str]:
        """Yield what must not be in this state."""
        for number, end in enumerate(self.ends):
            other = self.ends[1 - number]
            name = "server" if number else "client"
            if end.failed:
                yield f"the {name} took its peer for a violator: {end.failed}"
            for stream, data in end.received.items():
                whole = b"".join(bytes([n + 1]) * 3 for n in range(other.sent[stream]))
                if not whole.startswith(data):
                    yield f"the {name} received {data!r} on stream {stream}, of {whole!r}"
                if stream in end.ended and stream not in other.reset | end.reset and data != whole:
                    yield f"the {name} received an end after {len(data)} of {len(whole)} bytes"

    def final_problems(self) -> Iterator[str]:
        """Yield what must not be when nothing can happen any more."""
        for number, end in enumerate(self.ends):
            if end.http2.streams or end.http2.queued:
                yield f"the {'server' if number else 'client'} keeps {len(end.http2.streams)} streams"

    def key(self) -> tuple[Any, ...]:
        """Return what tells this state from others."""
        return tuple(
            (
                tuple(end.line),
                tuple(sorted(end.sent.items())),
                tuple(sorted(end.received.items())),
                *(frozenset(each) for each in (end.ended, end.finished, end.reset)),
                tuple(
                    (each.id, each.send_window, each.receive_window, each.queued, each.local_closed, each.remote_closed)
                    for each in end.http2.streams.values()
                ),
            )
            for end in self.ends
        )


def explore_streams(taken: Counter[tuple[str, str]], most_states: int = 1 << 30) -> Found:
    """Visit every state; count in `taken` what happened in which state of a stream."""
    found = Found()
    seen = {hash(StreamSystem().key())}
    waiting: list[tuple[Step, ...]] = [()]
    while waiting and len(found.broken) < 3 and found.states < most_states:
        path = waiting.pop()
        system = _rebuilt(path)
        found.states += 1
        steps = list(system.enabled())
        if not steps:
            found.broken += [f"{each}; after {path}" for each in system.final_problems()]
        for step in steps:
            following = _rebuilt(path)
            following.taken = taken
            following.happen(step)
            found.transitions += 1
            found.broken += [f"{each}; after {(*path, step)}" for each in following.problems()]
            key = hash(following.key())
            if key not in seen:
                seen.add(key)
                waiting.append((*path, step))
    return found


def _rebuilt(path: tuple[Step, ...]) -> StreamSystem:
    system = StreamSystem()
    for step in path:
        system.happen(step)
    return system

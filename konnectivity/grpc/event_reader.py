"""Reading side of one HTTP/2 connection: bytes in, events handed on, in turns that do not block the event loop.

Owns the events that the last read has become and are not handled yet, and the time of the next read. Knows nothing of
gRPC: data goes to the call of its stream, every other event to the owner of the reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from konnectivity.grpc.budgets.reading_pause import ReadingPause
from konnectivity.grpc.http2_writer import Http2Writer
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import events
from konnectivity.net import read_buffer

FIRST_READ_SIZE = 16 * 1024  # bytes, until a read was filled, and again after a turn that took long


class DataReceiver(Protocol):
    """Call of one stream."""

    def data_received(self, data: memoryview, credit: int, ends: bool) -> None:
        """Take a piece of DATA; `credit` bytes of window are returned once it is consumed."""

    def deliver_rest(self) -> None:
        """Deliver the messages that were deferred, until the turn is over."""


class EventHandler(Protocol):
    """Owner of a reader: handles every event that is not data of a call."""

    def event_received(self, event: events.Event) -> None:
        """Handle an event other than data."""


class EventReader:
    """Reader of one HTTP/2 connection.

    Attributes:
        memory: memory that the event loop reads into.
        next_read: part of `memory` for the next read.
        heard_at: time of the last bytes from the peer, on the monotonic clock.
        received: number of bytes received so far.

    Args:
        writer: writer of the frames that answer the events.
        transport: socket whose reading is controlled.
        pause: pauses in the reading of a peer that is slowed down.
        calls: open calls, by stream.
        options: limits, scheduler and clock.
        loop: event loop of the connection.
        owner: handler of events other than data.

    """

    __slots__ = (
        "_calls",
        "_clock",
        "_costs",
        "_deferred",
        "_handle_event",
        "_http2",
        "_loop",
        "_pause",
        "_rest",
        "_times",
        "_transport",
        "_turn_began",
        "_turns",
        "_unhandled",
        "_waits_its_turn",
        "_writer",
        "heard_at",
        "memory",
        "next_read",
        "received",
    )

    def __init__(
        self,
        writer: Http2Writer,
        transport: asyncio.Transport,
        pause: ReadingPause | None,
        calls: Mapping[int, DataReceiver],
        options: TransportOptions,
        loop: asyncio.AbstractEventLoop,
        owner: EventHandler,
    ) -> None:
        self.heard_at = options.clock()
        self.received = 0
        self._http2 = writer.http2
        self._costs = writer.http2.costs
        self._writer = writer
        self._calls = calls
        self._turns = options.turns
        self._times = options.turns.times
        self._clock = options.clock
        self._loop = loop
        self._handle_event: Callable[[events.Event], object] = owner.event_received
        self._transport: asyncio.Transport | None = transport
        self._pause = pause
        # Asked for bytes instead, uvloop makes an object of 256 KiB for each TLS record, and cuts it down: a mapping,
        # its page faults and two more system calls.
        self.memory = read_buffer.buffer()[: options.read_bytes]
        self.next_read = self.memory[:FIRST_READ_SIZE]
        self._turn_began = self.heard_at
        self._unhandled: Iterator[events.Event] = iter(())  # events of a read that took long
        self._deferred: DataReceiver | None = None  # call with messages of the last read that are not delivered yet
        self._waits_its_turn = False
        self._rest: asyncio.TimerHandle | None = None  # before the next turn of a peer that is slowed down

    def close(self) -> None:
        """Drop what was not handled: the transport is closed. References to the owner are dropped, too."""
        self._transport = self._pause = None
        self._unhandled, self._deferred = iter(()), None
        self._handle_event = _ignore
        if self._rest is not None:
            self._rest.cancel()

    def bytes_received(self, data: bytes) -> None:
        """Handle bytes from the peer, or keep their events until the connection's next turn."""
        now = self.heard_at = self._clock()
        self.received += len(data)
        received = self._http2.receive(data)
        if self._waits_its_turn:
            self._unhandled = chain(self._unhandled, received)
            return
        if len(data) >= len(self.next_read):
            self.next_read = self.memory
        self._turn_began = now
        if self._turns.full:
            self._wait_turn(iter(received), quick=len(data) <= FIRST_READ_SIZE)
        else:
            self._handle(iter(received))

    @property
    def turn_is_over(self) -> bool:
        """Return whether the time of this turn is used up: the rest of its work waits for the next turn."""
        return self._clock() - self._turn_began > self._times.long_s

    def defer(self, call: DataReceiver) -> None:
        """Let a call deliver the rest of its messages in the next turn."""
        self._deferred = call

    def _handle(self, received: Iterator[events.Event]) -> None:
        """Handle events; if they take long, keep the rest, in order, for the connection's next turn."""
        began = self._turn_began
        calls = self._calls
        clock, times = self._clock, self._times
        long_s = times.long_s
        for event in received:
            if type(event) is events.DataReceived:
                call = calls.get(event.stream_id)
                if call is not None:
                    call.data_received(event.data, event.credit, event.end_stream)
                elif event.credit:
                    self._writer.acknowledge(event.stream_id, event.credit)
            else:
                self._handle_event(event)
            if clock() - began > long_s:
                break
        if self._http2.output:
            self._writer.flush_output()
        if self._pause is not None:
            self._pause.read(self._costs.overdue_s)
        took = clock() - began  # also of a read without events: parsing may be what takes long
        if self._http2.unread or took > long_s:
            self.next_read = self.memory[:FIRST_READ_SIZE]
            self._wait_turn(received)
        elif took > times.counted_s and self._turns.crowded(took, self._loop):
            self._wait_turn(received, quick=took <= times.heavy_s)

    def _wait_turn(self, received: Iterator[events.Event], quick: bool = False) -> None:
        """Stop reading until it is this connection's turn again, so that others are served in between."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._unhandled = received
        self._waits_its_turn = True
        if transport.is_reading():
            transport.pause_reading()
        overdue_s = 0.0
        if self._pause is not None:
            self._pause.begin_wait()
            overdue_s = self._costs.overdue_s
        if overdue_s:
            self._rest = self._loop.call_later(overdue_s, self._turns.wait, self._read_on, self._loop)
        else:
            self._turns.wait(self._read_on, self._loop, quick)

    def _read_on(self) -> None:
        """Resume where the last turn ended, and read again when everything is handled."""
        self._waits_its_turn = False
        if self._pause is not None:
            self._pause.end_wait()
        received, self._unhandled = self._unhandled, iter(())
        call = self._take_deferred()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._turn_began = self._clock()
        if call is not None:
            call.deliver_rest()
        if self._deferred is not None:
            self.next_read = self.memory[:FIRST_READ_SIZE]
            self._wait_turn(received)
        else:
            self._handle(chain(received, self._rest_of_read()))
        paused = self._waits_its_turn or (self._pause is not None and self._pause.paused)
        if not paused and not transport.is_closing():
            transport.resume_reading()

    def _take_deferred(self) -> DataReceiver | None:
        """Return the call with messages that are not delivered yet, and forget it."""
        call, self._deferred = self._deferred, None
        return call

    def _rest_of_read(self) -> Iterator[events.Event]:
        """Yield the events of the bytes that HTTP/2 held back from the last read."""
        if self._http2.unread:
            yield from self._http2.receive(b"")


def _ignore(event: events.Event) -> None:
    """Ignore an event of a connection that is closed."""

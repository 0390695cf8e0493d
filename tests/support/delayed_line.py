"""TCP relay that delays every byte by half of a given round trip, in both directions.

The number of bytes in flight is bounded like a real TCP window; within that bound the relay is as fast as loopback.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Self, cast

import uvloop

WINDOW = 16 * 1024 * 1024  # bytes under way in one direction


class End(asyncio.Protocol):
    """One side of a relayed connection: bytes received here leave later at the other side."""

    window = WINDOW

    def __init__(self, delay_s: float, ends: set[End]) -> None:
        self.delay_s = delay_s
        self.ends = ends  # connected ends of the relay
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._blocked = False
        self._ended = False  # no more is received
        self._passed_on = False  # and that has arrived at the other side
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(1 << 20)
        self.ends.add(self)

    def data_received(self, data: bytes) -> None:
        self._queue(data)

    def eof_received(self) -> bool:
        self._ended = True
        self._queue(b"")
        return True

    def arrival(self, size: int) -> float:
        """Return the time at which `size` bytes that leave now have arrived at the other side."""
        return self._loop.time() + self.delay_s

    def _queue(self, data: bytes) -> None:
        self._under_way.append((self.arrival(len(data)), data))
        self._size += len(data)
        if self._size > self.window and self.transport is not None:
            self.transport.pause_reading()
        if self._timer is None:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now = self._loop.time()
        out = self.other.transport if self.other is not None else None
        if out is None:  # the far side is being connected, or gone
            if self.transport is None:
                return
            self._timer = self._loop.call_later(max(self.delay_s, 0.001), self._arrive)
            return
        while self._under_way and not self._blocked and self._under_way[0][0] <= now + 0.0005:
            _, data = self._under_way.popleft()
            self._size -= len(data)
            if not out.is_closing():
                if data:
                    out.write(data)
                else:
                    self._end(out)
        transport = self.transport
        if self._size <= self.window and not self._ended and transport is not None and not transport.is_closing():
            transport.resume_reading()
        if self._under_way and not self._blocked:
            self._timer = self._loop.call_later(max(0.0, self._under_way[0][0] - now), self._arrive)

    def _end(self, out: asyncio.Transport) -> None:
        """End the output towards the other side; close the connection when both directions have ended."""
        self._passed_on = True
        out.write_eof()
        if self.other is not None and self.other._passed_on and self.transport is not None:
            self.transport.close()
            out.close()

    # The pause concerns what the other side sends to this one.
    def pause_writing(self) -> None:
        if self.other is not None:
            self.other._blocked = True

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other._blocked = False
            self.other._arrive()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.discard(self)
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abort()


class DelayedLine:
    """Relay in a thread of its own that listens on a loopback port and forwards connections to `target`, delayed."""

    def __init__(self, target: tuple[str, int], round_trip_s: float) -> None:
        self.port = 0
        self._target = target
        self._delay_s = round_trip_s / 2
        self._ends: set[End] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), daemon=True)

    def make_end(self, near: bool) -> End:
        """Return one side of a new connection; `near` marks the side that was accepted."""
        return End(self._delay_s, self._ends)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:

            def accept() -> End:
                near = self.make_end(near=True)
                tasks.create_task(self._pair(near), name="connect the far side")
                return near

            server = await loop.create_server(accept, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            server.close()
            for end in self._ends.copy():
                if end.transport is not None:
                    end.transport.abort()
            while self._ends:
                await asyncio.sleep(0.001)

    async def _pair(self, near: End) -> None:
        far = self.make_end(near=False)
        near.other, far.other = far, near
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, *self._target)
        except OSError:
            if near.transport is not None:
                near.transport.abort()

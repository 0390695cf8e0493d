"""Pump of bytes between two connections, each with a reader and a writer, until both directions have ended.

Owns both connections from the call on. A side that ends its data ends only its direction; a side that breaks resets the
other one, so that a loss never looks like an end. Does not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from konnectivity.runtime import task_guard

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK = 64 * 1024
HALF_CLOSED_S = 10.0  # seconds without data from the other side, where the end of data cannot be passed on (TLS)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class BytePump:
    """Pump between two connections. A pump that is cancelled, or fails, resets both.

    Args:
        tasks: owns the task of the second direction.
        one, other: the connections.

    """

    def __init__(self, tasks: asyncio.TaskGroup, one: Streams, other: Streams) -> None:
        self._tasks = tasks
        self._ends = one, other
        self._loop = asyncio.get_running_loop()
        self._moved_at = [self._loop.time()] * 2  # last bytes from each side
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Pass bytes on in both directions until both have ended, or one side breaks; then close both."""
        second = task_guard.start(self._tasks, lambda: self._pass_on(1), "forward", failed=self.abort)
        try:
            await self._pass_on(0)
            await second
        except BaseException:
            self.abort()
            raise
        finally:
            second.cancel()
            if self._timer is not None:
                self._timer.cancel()
            for _, writer in self._ends:
                writer.close()

    def abort(self) -> None:
        """Reset both connections."""
        for _, writer in self._ends:
            reset(writer)

    async def _pass_on(self, side: int) -> None:
        """Pass on what one side sends, and its end."""
        reader, writer = self._ends[side][0], self._ends[1 - side][1]
        try:
            while data := await reader.read(CHUNK):
                self._moved_at[side] = self._loop.time()
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):  # uvloop raises the latter for a transport that is closed
            self.abort()
            return
        if not writer.can_write_eof():
            self._moved_at[1 - side] = self._loop.time()
            self._await_silence(1 - side)
            return
        with suppress(OSError, RuntimeError):  # closed altogether: its own direction says how
            writer.write_eof()

    def _await_silence(self, side: int) -> None:
        """Close both connections when a side has sent nothing for HALF_CLOSED_S."""
        due = self._moved_at[side] + HALF_CLOSED_S
        if self._loop.time() >= due:
            for _, writer in self._ends:
                writer.close()
        else:
            self._timer = self._loop.call_at(due, self._await_silence, side)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset, where its socket knows one."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX and not writer.transport.is_closing():
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()

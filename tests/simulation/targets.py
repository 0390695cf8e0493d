"""Targets behind the agents: what listens where a conversation's dial leads to."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from simulation.conversations import DOWN, UP, Conversation, SideRecord, pattern

PIECE = 32 * 1024
_RESET = struct.pack("ii", 1, 0)


class TargetConnection(asyncio.Protocol):
    """One accepted connection of a conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._script = conversation.script
        self._transport: Any = None
        self._full = False
        self.record = SideRecord(f"target {len(conversation.targets)}")
        conversation.targets.append(self.record)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.record.dialed_from = transport.get_extra_info("peername")[0]
        loop = asyncio.get_running_loop()
        if self._script.stall_target and self._script.stall_s:
            loop.call_soon(transport.pause_reading)
            loop.call_later(self._script.stall_s, self._resume)
        if self._script.target == "source":
            self._send_some()
        elif self._script.target == "reset":
            loop.call_later(self._script.pause_s + 0.05, self._reset)

    def data_received(self, data: bytes) -> None:
        self._conversation.target_received(self.record, data)
        if self._script.target == "echo":
            self._transport.write(pattern(self._conversation.number, UP, self.record.sent, len(data)))
            self.record.sent += len(data)
            if self._full:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._conversation.target_saw_end(self.record)
        if self._script.target == "answer":
            self._send_some()
        elif self._script.target in ("echo", "sink", "silent"):
            self._finish()
        return not self.record.finished

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._script.target == "echo":
            self._resume()
        else:
            self._send_some()

    def connection_lost(self, exc: Exception | None) -> None:
        self.record.closed = True
        self.record.saw_error = repr(exc) if exc is not None else ""

    def _send_some(self) -> None:
        record, script = self.record, self._script
        while not self._full and record.sent < script.down and not record.closed:
            size = min(PIECE, script.down - record.sent)
            record.sent += size
            self._transport.write(pattern(self._conversation.number, DOWN, record.sent - size, size))
        if record.sent >= script.down:
            self._finish()

    def _finish(self) -> None:
        if not self.record.finished and not self.record.closed and not self._transport.is_closing():
            self.record.finished = True
            self._transport.write_eof()
            if self.record.saw_end:
                self._transport.close()

    def _reset(self) -> None:
        if not self.record.closed:
            self.record.aborted = True
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def _resume(self) -> None:
        if not self.record.closed:
            self._transport.resume_reading()


async def target_machine(conversations: asyncio.Queue[Conversation]) -> None:
    """Listen, on a port of its own, for each conversation that a client is about to begin."""
    loop = asyncio.get_running_loop()
    while True:
        conversation = await conversations.get()
        if conversation.script.target != "refuse":
            port = int(conversation.address.rpartition(":")[2])
            await loop.create_server(lambda of=conversation: TargetConnection(of), "0.0.0.0", port)

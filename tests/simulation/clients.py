"""Clients of the frontends, built on the project's client library: each conversation's dial, its bytes and its end."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from konnectivity.client import ClientTunnel
from konnectivity.errors import DialError
from simulation.conversations import PIECE, UP, Conversation, pattern
from simulation.trace import Trace

GIVE_UP_S = 400.0  # virtual seconds after which a client is asked no more


class ClientSide:
    """Client of one conversation."""

    def __init__(self, conversation: Conversation, trace: Trace) -> None:
        self._conversation = conversation
        self._record = conversation.client
        self._script = conversation.script
        self._trace = trace
        self._half_closes = False  # it ends its output, and reads on
        self._all_sent = asyncio.Event()

    async def run(self, tunnel: ClientTunnel) -> None:
        """Dial, talk, and end."""
        conversation, loop = self._conversation, asyncio.get_running_loop()
        try:
            reader, writer = await tunnel.dial(conversation.address, conversation.deadline_s)
        except DialError as error:
            conversation.outcome = f"{error.failure.value}: {error}"
            self._end()
            return
        conversation.outcome = "connected"
        conversation.connected_at = loop.time()
        self._note("connected")
        self._half_closes = self._script.half_close and writer.can_write_eof()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(writer))
                tasks.create_task(self._receive(reader, writer))
        finally:
            self._record.left = not self._record.finished
            writer.close()
            self._end()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        script, record = self._script, self._record
        try:
            while record.sent < script.up and not record.closed:
                piece = pattern(self._conversation.number, UP, record.sent, min(script.piece, script.up - record.sent))
                record.sent += len(piece)
                writer.write(piece)
                await writer.drain()
                if script.pause_s:
                    await asyncio.sleep(script.pause_s)
            if self._half_closes and not record.closed:
                record.finished = True
                writer.write_eof()
        except OSError as error:
            self._failed(error)
        self._all_sent.set()

    async def _receive(self, reader: asyncio.StreamReader, writer: Any) -> None:
        script, record = self._script, self._record
        if script.stall_s and not script.stall_target:
            writer.transport.pause_reading()
            await asyncio.sleep(script.stall_s)
            writer.transport.resume_reading()
        try:
            while record.received < self._wanted():
                data = await reader.read(PIECE)
                if not data:
                    self._conversation.client_saw_end()
                    break
                self._conversation.client_received(data)
            else:
                await self._all_sent.wait()
        except OSError as error:
            self._failed(error)
        record.closed = True

    def _wanted(self) -> float:
        """Return the bytes that a client reads before it leaves; infinite: it waits for the end."""
        script = self._script
        if self._half_closes:
            return math.inf
        return script.up if self._conversation.echoes else script.down if script.target == "source" else 0

    def _failed(self, error: OSError) -> None:
        self._record.saw_error = self._record.saw_error or repr(error)

    def _end(self) -> None:
        self._record.closed = True
        self._conversation.ended_at = asyncio.get_running_loop().time()
        record = self._record
        seen = record.saw_error or ("end" if record.saw_end else "left" if record.left else "")
        self._note(f"over: {self._conversation.outcome}; sent {record.sent}, read {record.received}; {seen}")

    def _note(self, text: str) -> None:
        self._trace.note(f"client {self._conversation.number}", text)


async def client_program(orders: asyncio.Queue[tuple[Conversation, ClientTunnel]], trace: Trace) -> None:
    """Begin each conversation that is ordered, all at the same time."""
    async with asyncio.TaskGroup() as tasks:
        while True:
            conversation, tunnel = await orders.get()
            tasks.create_task(ClientSide(conversation, trace).run(tunnel), name=f"conversation {conversation.number}")

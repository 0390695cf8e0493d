"""Two tunnel ends, their connections and the stream between them, as states and events of an exhaustive walk.

Says what can happen, lets it happen, and says what must not be in a state. Does not know in which order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import packet_types
from support.memory_dials import MemoryDial
from support.memory_streams import stream_pair

WINDOW = 2  # bytes of a connection and direction: so that credit runs out
Event = tuple[str, int, int]  # kind, connection, side (0: client, 1: target)
CLIENT, TARGET = 0, 1


@dataclass(frozen=True)
class Scope:
    """What is explored.

    Attributes:
        connections: number of connections on the tunnel.
        data: DATA packets that each side of each connection sends, of one byte; its end follows.
        stalls: whether local sides may stop to take bytes.
        losses: whether local sides may break.
        extension: whether both ends speak the extension.

    """

    connections: int = 2
    data: int = 2
    stalls: bool = False
    losses: bool = False
    extension: bool = True


class _Socket:
    """Local side of a connection."""

    def __init__(self, connection: Connection | None = None) -> None:
        self.connection = connection
        self.received = 0
        self.sent = 0
        self.ended = False  # it was told the end of the other side's output
        self.closed = False
        self.aborted = False
        self.lost = False
        self.full = False
        self.waiting = 0
        self.paused = False
        self.wrong = ""
        self.first = 0  # number of the first byte that it expects

    def write(self, data: bytes | memoryview) -> bool:
        for byte in bytes(data):
            if byte != self.first + self.received:
                self.wrong = f"byte {byte} instead of {self.first + self.received}"
            self.received += 1
        if self.ended or self.aborted:
            self.wrong = "a byte behind the end"
        self.waiting += len(data) if self.full else 0
        return not self.full

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = self.closed = True

    def abort(self, reason: str) -> None:
        self.aborted = True

    def buffered(self) -> int:
        return self.waiting

    def watch(self, left: int) -> None: ...

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class System:
    """Two tunnel ends and the stream between them."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.server_stream, self.agent_stream = stream_pair()
        self.memories = [MemoryBudget(initial_window=WINDOW, max_window=WINDOW) for _ in range(2)]
        options = [TunnelOptions(memory=memory, clock=lambda: 1000.0) for memory in self.memories]
        self.server = DialingTunnel(self.server_stream, options[0], sides.SERVER, sides.CLIENT)
        self.agent = ServingTunnel(self.agent_stream, options[1], sides.AGENT, sides.TARGET, self._open)
        self.server_stream.receiver, self.agent_stream.receiver = self.server, self.agent
        if scope.extension:
            self.server.negotiate(Extension(WINDOW))
            self.agent.negotiate(Extension(WINDOW))
        self.sockets: list[list[_Socket]] = []
        self.broken = False
        for number in range(scope.connections):
            client, target = _Socket(), _Socket()
            client.first, target.first = 100 + 10 * number, 10 * number
            self.sockets.append([client, target])
            dial = MemoryDial(attach=self._attach(client))
            self.server.ask(dial)
            self.agent_stream.deliver()
            self.server_stream.deliver()

    @staticmethod
    def _attach(client: _Socket) -> Any:
        def attach(connection: Connection) -> None:
            client.connection = connection
            connection.attach(client)

        return attach

    def _open(self, dial: IncomingDial) -> None:
        target = self.sockets[-1][TARGET]
        target.connection = dial.connected(target)

    def enabled(self) -> Iterator[Event]:
        """Yield what can happen now, except a break of the stream."""
        if self.broken:
            return
        for number, pair in enumerate(self.sockets):
            for side, socket in enumerate(pair):
                if socket.aborted or socket.closed or socket.lost:
                    continue
                if socket.sent <= self.scope.data and not socket.paused:
                    yield "send", number, side
                if self.scope.stalls and not socket.full:
                    yield "stall", number, side
                if socket.full:
                    yield "drain", number, side
                if self.scope.losses:
                    yield "lose", number, side
        if self.agent_stream.inbox:
            yield "deliver", 0, TARGET
        if self.server_stream.inbox:
            yield "deliver", 0, CLIENT

    def happen(self, event: Event) -> None:
        """Let an event happen."""
        kind, number, side = event
        if kind == "deliver":
            (self.server_stream if side == CLIENT else self.agent_stream).deliver(1)
            return
        if kind == "break":
            self.broken = True
            self.server_stream.abort("the line broke")
            return
        socket = self.sockets[number][side]
        connection = socket.connection
        assert connection is not None
        if kind == "send":
            socket.sent += 1
            if socket.sent > self.scope.data:
                connection.local_end()
            else:
                first = 10 * number if side == CLIENT else 100 + 10 * number
                connection.outbound.send(bytes([first + socket.sent - 1]))
        elif kind == "stall":
            socket.full = True
        elif kind == "drain":
            socket.full, socket.waiting = False, 0
            connection.inbound.local_drained()
        else:
            socket.lost = True
            connection.local_lost("the socket broke")

    def key(self) -> int:
        """Return what tells this state from others; states that differ in the numbers of connections only are one."""
        pairs = [
            tuple((*_socket_key(each), *_connection_key(each.connection)) for each in pair) for pair in self.sockets
        ]
        inboxes = [[_without_number(each) for each in end.inbox] for end in (self.server_stream, self.agent_stream)]
        numberings = permutations(range(len(pairs)))
        return min(hash((_renumbered(pairs, inboxes, numbering), self.broken)) for numbering in numberings)

    def problems(self) -> Iterator[str]:
        """Yield what must not be in this state."""
        for number, pair in enumerate(self.sockets):
            for side, socket in enumerate(pair):
                other = pair[1 - side]
                where = f"connection {number}, {'client' if side == CLIENT else 'target'}"
                sent = min(other.sent, self.scope.data)
                if socket.wrong:
                    yield f"{where}: {socket.wrong}"
                if socket.received > sent:
                    yield f"{where}: {socket.received} bytes of {sent}"
                if not self.scope.extension or socket.lost:
                    continue  # the reference protocol has one end for both directions; a lost side sees nothing
                if socket.ended and (other.sent <= self.scope.data or socket.received != sent) and not other.lost:
                    yield f"{where}: a clean end after {socket.received} bytes of {sent}"
                if socket.ended and other.lost and other.sent <= self.scope.data:
                    yield f"{where}: a clean end of a side that broke"
                if self.broken and not (socket.closed or socket.aborted or socket.lost):
                    yield f"{where}: was not told that the stream broke"
        for memory in self.memories:
            if min(memory.used, memory.backlog, memory.grown) < 0:
                yield f"an account of memory is negative: {memory}"

    def final_problems(self) -> Iterator[str]:
        """Yield what must not be when nothing can happen any more."""
        for number, pair in enumerate(self.sockets):
            for socket in pair:
                if not (socket.closed or socket.aborted or socket.lost):
                    yield f"connection {number}: a side waits for ever: {socket.__dict__}"
        for tunnel, memory in zip((self.server, self.agent), self.memories, strict=True):
            if tunnel.connections or memory.used or memory.grown or memory.stalled:
                yield f"left behind: {len(tunnel.connections)} connections, {memory}"


def _socket_key(s: _Socket) -> tuple[Any, ...]:
    return s.received, s.sent, s.ended, s.closed, s.aborted, s.lost, s.full, s.waiting, s.paused


def _renumbered(
    pairs: list[tuple[Any, ...]], inboxes: list[list[tuple[int, bytes]]], numbering: tuple[int, ...]
) -> tuple[Any, ...]:
    """Return the parts of a state in which connection `numbering[n]` has the number `n`."""
    new = {before: number for number, before in enumerate(numbering)}
    messages = tuple(tuple((new[before], message) for before, message in inbox) for inbox in inboxes)
    return tuple(pairs[before] for before in numbering), messages


@functools.cache
def _without_number(message: bytes) -> tuple[int, bytes]:
    """Return the number of a packet's connection, from 0 on, and the packet without what depends on the number.

    A packet is its type, and one field of type message. The connection's ID, 1 and so on, is the first number in it,
    behind the error text of CLOSE_RSP. The byte of DATA is at its end, and counts from ten times the number on.
    """
    at = 4 if message[2] < 0x80 else 5  # behind the tag, of one or two bytes, and the length of the field
    if message[at] == 0x0A:  # a text, with its length
        at += 2 + message[at + 1]
    assert message[at] in (0x08, 0x10), f"no number where the ID should be: {message!r}"
    number, rest = message[at + 1] - 1, message[at + 2 :]
    if message[1] == packet_types.DATA:
        rest = rest[:-1] + bytes((rest[-1] - 10 * number,))
    return number, message[: at + 1] + rest


def _connection_key(connection: Connection | None) -> tuple[Any, ...]:
    if connection is None:
        return ()
    out, into = connection.outbound, connection.inbound
    return (
        connection.state.value,
        connection._gone,
        *(out.credit, out.queued, out.ended, out.starved, out._stopped),
        *(into.granted, into.backlog, into.blocked, into._unreturned, into._discarding),
    )

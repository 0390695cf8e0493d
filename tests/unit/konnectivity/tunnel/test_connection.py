"""Two ends of a tunnel, any interleaving: every accepted byte arrives once and in order, or both sides see an error."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.interfaces import Buffer
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.states import EXTENDED, REFERENCE_DIALING, REFERENCE_SERVING, Input, State
from konnectivity.tunnel.tunnel_options import TunnelOptions
from support.examples import examples
from support.memory_dials import MemoryDial
from support.memory_streams import StillLoop, stream_pair

CLIENT, TARGET = 0, 1


@dataclass
class Socket:
    """Local side of a connection that takes bytes unless it is stuck, and records how it was closed."""

    connection: Connection | None = None
    said: bytearray = field(default_factory=bytearray)  # accepted from it
    heard: bytearray = field(default_factory=bytearray)  # delivered to it
    waiting: bytearray = field(default_factory=bytearray)  # given to it while it is stuck
    stuck: bool = False
    paused: bool = False
    ended: bool = False  # the socket ended its output
    gone: bool = False  # the socket closed by itself
    saw_end: bool = False  # a clean end of its input
    saw_error: bool = False
    closed: bool = False
    partner: Socket | None = None
    half_close: bool = True
    watched: int | None = None

    def write(self, data: Buffer) -> bool:
        assert not self.saw_end, "data after the end"
        assert not self.closed, "data after the close"
        if self.gone:
            return True
        if self.stuck:
            self.waiting += data
            return False
        self.heard += data
        return True

    def write_eof(self) -> None:
        assert self.partner is not None
        # The reference protocol has no half-close: a side that ends its output gives up its input.
        if not self.gone and (self.half_close or not self.ended):
            assert self.heard + self.waiting == self.partner.said, "a clean end that hides lost bytes"
        self.saw_end = True

    def close(self) -> None:
        if not self.saw_end:
            self.write_eof()
        self.closed = True

    def abort(self, reason: str) -> None:
        assert reason
        self.saw_error = True
        self.closed = True

    def buffered(self) -> int:
        return len(self.waiting)

    def watch(self, left: int) -> None:
        self.watched = left

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    # called by the test

    def say(self, data: bytes) -> None:
        if not (self.paused or self.ended or self.gone or self.closed) and self.connection is not None:
            self.said += data
            self.connection.outbound.send(data)

    def end(self) -> None:
        if not (self.ended or self.gone or self.closed) and self.connection is not None:
            self.ended = True
            self.connection.local_end()

    def go(self) -> None:
        if not (self.gone or self.closed) and self.connection is not None:
            self.ended = self.gone = True
            self.connection.local_gone()

    def break_(self) -> None:
        if not (self.gone or self.closed) and self.connection is not None:
            self.gone = True
            self.connection.local_lost("broken by the test")

    def sip(self) -> None:
        """Take half of the waiting bytes, and stay stuck."""
        half = len(self.waiting) // 2
        if self.stuck and half:
            self.heard += self.waiting[:half]
            del self.waiting[:half]
            if self.connection is not None:
                self.connection.inbound.local_progress()

    def free(self) -> None:
        if self.stuck:
            self.stuck = False
            self.heard += self.waiting
            self.waiting.clear()
            if self.connection is not None:
                self.connection.inbound.local_drained()


class World:
    """Dialing and serving end of one tunnel, and the sockets behind their connections."""

    def __init__(self, extension: bool, window: int = 4096) -> None:
        self.extension = extension
        self.left, self.right = stream_pair()
        self.options = [
            TunnelOptions(
                MemoryBudget(initial_window=window, max_window=16 * window, connection_budget=window), hold_s=2.0
            )
            for _ in range(2)
        ]
        self.dialing = DialingTunnel(self.left, self.options[0], sides.SERVER, sides.CLIENT)
        self.serving = ServingTunnel(self.right, self.options[1], sides.AGENT, sides.TARGET, self._open)
        self.left.receiver, self.right.receiver = self.dialing, self.serving
        if extension:
            self.dialing.negotiate(Extension(window))
            self.serving.negotiate(Extension(window))
        self.clients: list[Socket] = []
        self.targets: list[Socket] = []

    def dial(self) -> None:
        self.dialing.ask(MemoryDial(f"target:{len(self.clients)}", attach=self._connected))

    def _open(self, dial: IncomingDial) -> None:
        target = Socket(half_close=self.extension)
        target.connection = dial.connected(target)
        self.targets.append(target)

    def _connected(self, connection: Connection) -> None:
        client = Socket(connection=connection, half_close=self.extension)
        connection.attach(client)
        target = self.targets[len(self.clients)]
        client.partner, target.partner = target, client
        self.clients.append(client)

    def sockets(self) -> list[Socket]:
        return self.clients + self.targets[: len(self.clients)]

    def check(self) -> None:
        for socket in self.sockets():
            assert socket.partner is not None
            delivered = bytes(socket.heard + socket.waiting)
            assert socket.partner.said.startswith(delivered), "not a prefix of what was said"

    async def settle(self, loop: StillLoop) -> None:
        """Deliver everything in flight, and release every socket."""
        for _ in range(200):
            moved = self.left.deliver() + self.right.deliver()
            for socket in self.sockets():
                socket.free()
            if not moved and not (self.left.inbox or self.right.inbox):
                break
            if not moved:
                await loop.advance(0.1)  # the stream is held
        self.check()

    def nothing_left(self) -> bool:
        return (
            not self.dialing.connections
            and not self.serving.connections
            and all(
                options.memory.used == 0 and tunnel.memory.used == 0 and options.memory.grown == 0
                for options, tunnel in zip(self.options, (self.dialing, self.serving), strict=True)
            )
        )


_where = (st.integers(0, 1), st.integers(0, 1))
_say = st.tuples(st.just("say"), *_where, st.sampled_from([1, 100, 2048, 4096, 5000, 20_000]))
_deliver = st.tuples(st.just("deliver"), st.integers(0, 1), st.integers(1, 4))
_act = st.tuples(st.sampled_from(["end", "go", "break_", "stick", "stick", "sip", "sip", "free"]), *_where)
operations = st.one_of(_say, _say, _say, _deliver, _deliver, _act, _act, st.just(("dial",)))
beginning: list[tuple] = [("dial",), ("dial",), ("deliver", 1, 9), ("deliver", 0, 9)]


def play(world: World, steps: list[tuple]) -> None:
    for name, *arguments in steps:
        if name == "dial":
            world.dial()
        elif name == "deliver":
            (world.left, world.right)[arguments[0]].deliver(arguments[1])
        else:
            number, side, *rest = arguments
            sockets = (world.clients, world.targets)[side]
            if number < min(len(world.clients), len(world.targets)):
                socket = sockets[number]
                if name == "say":
                    socket.say(bytes((number + side + i) % 251 for i in range(rest[0])))
                elif name == "stick":
                    socket.stuck = True
                else:
                    getattr(socket, name)()
        world.check()


def run(extension: bool, steps: list[tuple]) -> None:
    async def scenario() -> None:
        world = World(extension)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        play(world, [*beginning, *steps])
        await world.settle(loop)
        for socket in world.sockets():
            assert socket.closed or socket.gone or socket.ended or not socket.paused, (
                "nothing is in flight, and the socket may not send"
            )
        for client, target in zip(world.clients, world.targets, strict=False):
            for one, other in ((client, target), (target, client)):
                whole = one.heard == other.said
                errors = one.saw_error or other.saw_error or one.gone or other.gone
                assert whole or errors or not extension, "bytes are missing and nobody was told"
                if extension and one.ended and not errors:
                    assert other.saw_end, "an end that did not arrive"
        for socket in world.sockets():
            socket.go()
        await world.settle(loop)
        assert world.nothing_left() or not extension
        for _ in range(8):  # reference protocol: graces and time-outs
            await loop.advance(31.0)
            await world.settle(loop)
        assert world.nothing_left()
        world.left.finish()

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "reference"])
@settings(
    max_examples=examples(250), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(steps=st.lists(operations, min_size=5, max_size=40))
def test_any_interleaving_is_exact_and_leaves_nothing(extension: bool, steps: list[tuple]) -> None:
    run(extension, steps)


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "reference"])
@settings(max_examples=examples(100), deadline=None)
@given(steps=st.lists(operations, min_size=5, max_size=30))
def test_a_lost_tunnel_is_an_error_on_both_sides(extension: bool, steps: list[tuple]) -> None:
    async def scenario() -> None:
        world = World(extension)
        play(world, [*beginning, *steps])
        open_before = [socket for socket in world.sockets() if not socket.closed and not socket.gone]
        world.left.abort("cut")
        for socket in open_before:
            assert socket.saw_error, "a lost tunnel that looks like a clean end"
        assert world.nothing_left()

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(scenario())


def in_still_time(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(scenario)


def connected(extension: bool = True, window: int = 4096) -> tuple[World, Socket, Socket]:
    world = World(extension, window)
    play(world, [("dial",), ("deliver", 1, 9), ("deliver", 0, 9)])
    return world, world.clients[0], world.targets[0]


def test_a_stuck_receiver_gets_its_window_and_no_more() -> None:
    async def scenario() -> None:
        world, client, target = connected(window=4096)
        target.stuck = True
        client.say(bytes(50_000))
        for _ in range(20):
            world.left.deliver()
            world.right.deliver()
        assert len(target.waiting) == 4096
        assert client.paused
        assert world.options[1].memory.used == 4096, "and it is booked"
        target.free()
        for _ in range(20):
            world.left.deliver()
            world.right.deliver()
        assert bytes(target.heard) == bytes(50_000)
        assert not client.paused
        assert world.options[1].memory.used == 0

    in_still_time(scenario())


def test_credit_is_returned_at_once_for_bytes_that_have_left_a_stuck_receiver() -> None:
    async def scenario() -> None:
        world, client, target = connected(window=4096)
        target.stuck = True
        client.say(bytes(50_000))
        for _ in range(20):
            world.left.deliver()
            world.right.deliver()
        assert target.watched == 2048, "it is to say when half of it has left"
        target.sip()
        for _ in range(20):
            world.left.deliver()
            world.right.deliver()
        assert (len(target.heard), len(target.waiting)) == (2048, 4096)
        assert world.options[1].memory.used == len(target.waiting)

    in_still_time(scenario())


def test_a_connection_that_has_used_up_its_credit_is_counted_even_with_nothing_left_to_send() -> None:
    async def scenario() -> None:
        world, client, target = connected(window=4096)
        target.stuck = True
        client.say(bytes(4096))
        world.right.deliver()
        assert (client.paused, world.options[0].traffic.starved) == (True, 1)
        target.free()
        world.left.deliver()
        assert (client.paused, world.options[0].traffic.starved) == (False, 0)

    in_still_time(scenario())


def say_and_deliver(world: World, *clients: Socket) -> None:
    for client in clients:
        client.say(bytes(4096))
    world.right.deliver()
    world.left.deliver()


async def rush(world: World, *clients: Socket) -> None:
    """Send at 10 MB a second for a twentieth of a second."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    for _ in range(10):
        for _ in range(12):
            say_and_deliver(world, *clients)
        await loop.advance(0.005)


def test_a_window_leaves_room_for_others_while_they_talk() -> None:
    """A window is many times rate x round trip for a connection alone, and about that beside others."""

    async def scenario() -> None:
        world = World(extension=True, window=4096)
        play(world, [("dial",), ("dial",), ("deliver", 1, 900), ("deliver", 0, 900)])
        (bulk, key), (target, _) = world.clients, world.targets
        assert target.connection is not None
        await rush(world, bulk)
        alone = target.connection.inbound.window.size
        for _ in range(10):
            key.say(b"k")
            await rush(world, bulk)
        assert target.connection.inbound.window.size < alone / 2
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        for _ in range(2):  # the first look still sees the last key
            await loop.advance(3)
            await rush(world, bulk)
        assert target.connection.inbound.window.size == alone

    in_still_time(scenario())


def test_a_window_grows_while_its_data_moves_fast_and_is_given_back_at_the_end() -> None:
    async def scenario() -> None:
        world, client, target = connected(window=4096)
        await rush(world, client)
        assert target.connection is not None
        assert target.connection.inbound.window.size == 16 * 4096, "up to its maximum"
        assert world.options[1].memory.grown == 15 * 4096
        client.go()
        target.go()
        for _ in range(5):
            world.right.deliver()
            world.left.deliver()
        assert world.nothing_left()

    in_still_time(scenario())


def test_windows_together_stay_below_what_refuses_dials() -> None:
    """A hundred connections that are fast first and then stall at once leave memory for others."""

    async def scenario() -> None:
        world = World(extension=True, window=4096)
        memory = world.options[1].memory
        memory.tunnel_budget = 128 * 4096  # budget of an agent
        play(world, [*[("dial",)] * 100, ("deliver", 1, 900), ("deliver", 0, 900)])
        assert len(world.clients) == 100
        await rush(world, *world.clients[:10])
        assert 0 < memory.grown <= 28 * 4096
        for client, target in zip(world.clients, world.targets, strict=True):
            target.stuck = True
            client.say(bytes(64 * 4096))
        for _ in range(200):
            world.right.deliver()
            world.left.deliver()
        assert memory.used > 100 * 4096, "more than small windows"
        assert not world.serving.exhausted

    in_still_time(scenario())


def test_a_window_shrinks_when_its_data_becomes_slow() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        world, client, target = connected(window=4096)
        await rush(world, client)
        assert target.connection is not None
        assert target.connection.inbound.window.size == 16 * 4096
        for _ in range(120):
            await loop.advance(11)
            say_and_deliver(world, client)
        assert target.connection.inbound.window.size == 4096
        assert world.options[1].memory.grown == 0
        assert target.heard == client.said, "and nothing waits for credit"
        await rush(world, client)
        assert target.connection.inbound.window.size == 16 * 4096, "and grows again"

    in_still_time(scenario())


def test_more_data_than_granted_ends_that_connection_only() -> None:
    async def scenario() -> None:
        world, client, target = connected(window=4096)
        world.dial()
        world.right.deliver()
        world.left.deliver()
        assert client.connection is not None
        client.connection.outbound.add_credit(100_000)  # a peer that does not count
        target.stuck = True
        client.say(bytes(9000))
        world.right.deliver()
        assert target.saw_error
        world.left.deliver()
        assert client.saw_error
        world.clients[1].say(b"still here")
        world.right.deliver()
        assert world.targets[1].heard == b"still here"

    in_still_time(scenario())


def test_bytes_missing_at_the_end_are_a_violation() -> None:
    async def scenario() -> None:
        world, client, target = connected()
        client.say(b"0123456789")
        world.right.inbox.pop()  # lost on the way
        client.end()
        world.right.deliver()
        assert target.saw_error
        assert not target.saw_end
        assert target.connection is not None
        assert "10 bytes of 10 are missing" in target.connection.reason

    in_still_time(scenario())


def test_half_close_both_ways() -> None:
    async def scenario() -> None:
        world, client, target = connected()
        client.say(b"question")
        client.end()
        world.right.deliver()
        assert target.heard == b"question"
        assert target.saw_end
        target.say(b"answer to all of it")
        target.end()
        world.left.deliver()
        assert client.heard == b"answer to all of it"
        assert client.saw_end
        world.right.deliver()
        assert world.nothing_left()

    in_still_time(scenario())


def test_reference_protocol_a_stuck_connection_holds_the_stream_for_two_seconds_then_it_alone_is_reset() -> None:
    async def scenario() -> None:
        world, client, target = connected(extension=False, window=4096)
        world.dial()
        world.right.deliver()
        world.left.deliver()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        target.stuck = True
        client.say(bytes(9000))
        world.right.deliver()
        assert world.right.held
        await loop.advance(1.9)
        assert world.right.held
        assert not target.closed
        await loop.advance(0.2)
        assert not world.right.held
        assert target.saw_error
        assert world.options[1].traffic.reset_over_budget == 1
        world.clients[1].say(b"still here")
        world.right.deliver()
        assert world.targets[1].heard == b"still here"

    in_still_time(scenario())


def test_reference_protocol_a_slow_reader_that_drains_in_time_is_not_reset() -> None:
    async def scenario() -> None:
        world, client, target = connected(extension=False, window=4096)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        for _ in range(5):
            target.stuck = True
            client.say(bytes(9000))
            world.right.deliver()
            assert world.right.held
            await loop.advance(1.9)
            target.free()
            assert not world.right.held
        assert bytes(target.heard) == bytes(45_000)
        assert world.options[1].traffic.reset_over_budget == 0

    in_still_time(scenario())


def test_every_state_answers_every_input() -> None:
    """The tables name only existing states and inputs, and every state can be left."""
    for table in (EXTENDED, REFERENCE_SERVING, REFERENCE_DIALING):
        for (state, event), (after, actions) in table.items():
            assert state is not State.CLOSED
            assert isinstance(event, Input)
            assert all(callable(getattr(Connection, action.value)) for action in actions)
            assert after is State.CLOSED or any(key[0] is after for key in table)

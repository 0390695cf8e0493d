"""Relay between a socket and a connection, as conversations over a transport and a tunnel in memory."""

from __future__ import annotations

import asyncio

from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import UNREAD_TIMEOUT_S
from konnectivity.tunnel.relay import LINGER_S, Relay
from konnectivity.wire import packet_types
from support.kernel_socket import KernelSocket
from support.memory_server import advance, in_still_time
from support.still_tunnel_side import StillTunnelSide


class Hop:
    """One socket, its relay, and a connection on a tunnel."""

    def __init__(self, credit: int = 64 * 1024, tls: bool = False) -> None:
        self.tunnel = StillTunnelSide()
        self.connection: Connection = self.tunnel.open(credit)
        self.socket = KernelSocket(tls)
        self.closing = ClosingSockets()
        self.relay = Relay(asyncio.get_running_loop(), self.closing)
        self.socket.connect(self.relay)

    def join(self) -> Hop:
        """Attach the relay to the connection, as a frontend or an agent does."""
        self.connection.attach(self.relay)
        self.relay.attach(self.connection)
        return self

    def receive(self, data: bytes) -> None:
        """Let data arrive from the tunnel."""
        self.connection.inbound.receive(memoryview(data))

    def packet_kinds(self) -> list[int]:
        """Return the types of the packets sent, and clear them."""
        kinds = [packet.type for packet in self.tunnel.packets]
        self.tunnel.packets.clear()
        return kinds


@in_still_time
async def test_bytes_pass_both_ways() -> None:
    hop = Hop().join()
    hop.socket.feed(b"question")
    assert hop.tunnel.payload() == b"question"
    hop.receive(b"answer")
    assert hop.socket.sent == b"answer"


@in_still_time
async def test_a_read_is_no_larger_than_the_credit() -> None:
    hop = Hop(credit=1000).join()
    assert len(hop.relay.get_buffer(-1)) == 1000
    hop.connection.outbound.add_credit(1 << 20)
    assert len(hop.relay.get_buffer(-1)) == 64 * 1024


@in_still_time
async def test_a_socket_is_not_read_while_there_is_no_credit() -> None:
    hop = Hop(credit=1000).join()
    hop.socket.feed(bytes(1000))
    assert not hop.socket.reading
    hop.connection.outbound.add_credit(500)
    assert hop.socket.reading


@in_still_time
async def test_a_socket_that_takes_nothing_is_granted_credit_for_when_it_has_taken_everything() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(bytes(30_000))
    hop.receive(bytes(30_000))
    assert hop.connection.inbound.blocked
    assert hop.tunnel.memory.used == 60_000
    assert hop.packet_kinds() == []
    hop.socket.take(1 << 20)
    assert not hop.connection.inbound.blocked
    assert hop.tunnel.memory.used == 0
    assert hop.packet_kinds() == [packet_types.CREDIT]


@in_still_time
async def test_a_slow_socket_is_granted_credit_for_what_it_has_taken() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(bytes(60_000))
    hop.socket.take(40_000)
    assert hop.packet_kinds() == [packet_types.CREDIT]
    assert hop.connection.inbound.blocked
    assert hop.tunnel.memory.used == 20_000


@in_still_time
async def test_bytes_read_before_there_is_a_connection_are_sent_first() -> None:
    hop = Hop()
    hop.socket.feed(b"banner")
    assert not hop.socket.reading
    hop.join()
    hop.socket.feed(b" and more")
    assert hop.tunnel.payload() == b"banner and more"


@in_still_time
async def test_an_end_of_output_seen_before_there_is_a_connection_is_passed_on() -> None:
    hop = Hop()
    hop.socket.feed_eof()
    hop.join()
    assert hop.packet_kinds() == [packet_types.DATA_END]
    assert not hop.socket.closed


@in_still_time
async def test_each_direction_ends_on_its_own() -> None:
    hop = Hop().join()
    hop.socket.feed(b"question")
    hop.socket.feed_eof()
    assert hop.packet_kinds() == [packet_types.DATA_END]
    hop.receive(b"answer")
    assert hop.socket.sent == b"answer"
    hop.connection.peer_end(6)
    await advance(0)
    assert hop.socket.closed
    assert not hop.socket.aborted
    assert hop.connection.closed


@in_still_time
async def test_an_end_from_the_tunnel_ends_the_output_of_the_socket_which_may_still_send() -> None:
    hop = Hop().join()
    hop.connection.peer_end(0)
    assert hop.socket.ended
    hop.socket.feed(b"late")
    assert hop.tunnel.payload() == b"late"


@in_still_time
async def test_a_tls_socket_that_ends_its_output_is_gone() -> None:
    hop = Hop(tls=True).join()
    hop.socket.feed_eof()
    assert hop.packet_kinds() == [packet_types.STOP, packet_types.DATA_END]


@in_still_time
async def test_a_tls_socket_is_closed_when_the_tunnel_ends_its_data() -> None:
    hop = Hop(tls=True).join()
    hop.connection.peer_end(0)
    await advance(0)
    assert hop.packet_kinds() == [packet_types.DATA_END]
    assert hop.socket.closed
    assert hop.connection.closed


@in_still_time
async def test_a_closed_socket_is_read_for_a_moment_so_that_the_kernel_sends_no_reset() -> None:
    hop = Hop().join()
    hop.relay.close()
    assert hop.socket.ended
    assert hop.socket.reading
    hop.socket.feed(b"nobody reads this")
    assert hop.tunnel.payload() == b""
    assert not hop.socket.closed
    await advance(LINGER_S)
    assert hop.socket.closed
    assert not hop.socket.aborted


@in_still_time
async def test_a_closed_socket_that_takes_nothing_is_cut_off() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(b"never taken")
    hop.socket.feed_eof()
    hop.connection.peer_end(11)
    assert not hop.socket.closed
    await advance(UNREAD_TIMEOUT_S)
    assert hop.socket.aborted


@in_still_time
async def test_a_closed_socket_that_takes_a_little_now_and_then_is_not_cut_off() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(bytes(100))
    hop.socket.feed_eof()
    hop.connection.peer_end(100)
    for _ in range(5):
        hop.socket.take(10)
        await advance(UNREAD_TIMEOUT_S)
        assert not hop.socket.closed
    hop.socket.take(50)
    assert hop.socket.closed
    assert not hop.socket.aborted
    assert len(hop.socket.sent) == 100


@in_still_time
async def test_a_closed_socket_that_took_something_is_cut_off_at_most_a_tenth_late() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(bytes(100))
    hop.socket.feed_eof()
    hop.connection.peer_end(100)
    hop.socket.take(10)
    await advance(UNREAD_TIMEOUT_S / 10)
    await advance(UNREAD_TIMEOUT_S - 1)
    assert not hop.socket.aborted
    await advance(UNREAD_TIMEOUT_S / 10)
    assert hop.socket.aborted


@in_still_time
async def test_a_closed_socket_has_unwritten_bytes_until_it_has_taken_everything() -> None:
    hop = Hop().join()
    hop.socket.room = 0
    hop.receive(bytes(100))
    assert hop.closing.unwritten == 0, "its connection is still open"
    hop.socket.feed_eof()
    hop.connection.peer_end(100)
    assert hop.closing.unwritten == 1
    hop.socket.take(100)
    await advance(0)
    assert hop.closing.unwritten == 0


@in_still_time
async def test_a_closed_tls_socket_may_have_unwritten_bytes_until_it_is_gone() -> None:
    hop = Hop(tls=True).join()
    hop.relay.close()
    assert hop.closing.unwritten == 1, "asyncio's TLS does not tell"
    await advance(0)
    assert hop.closing.unwritten == 0


@in_still_time
async def test_when_the_program_ends_only_a_closed_socket_that_lacks_bytes_is_reset() -> None:
    full, empty = Hop().join(), Hop().join()
    for hop in (full, empty):
        hop.socket.room = 0 if hop is full else 100
        hop.receive(bytes(100))
        hop.connection.peer_end(100)
        hop.connection.local_gone()
        hop.closing.abort_unwritten("the program ends")
    assert full.socket.aborted
    assert not empty.socket.aborted
    assert empty.socket.sent == bytes(100)


@in_still_time
async def test_a_broken_socket_is_a_reset_with_its_reason() -> None:
    hop = Hop().join()
    hop.socket.lose(ConnectionResetError(104, "Connection reset by peer"))
    await advance(0)
    reset = hop.tunnel.packets[-1]
    assert "reset by peer" in reset.reason.lower()
    assert hop.connection.closed


@in_still_time
async def test_a_socket_that_broke_before_there_is_a_connection_resets_it() -> None:
    hop = Hop()
    hop.socket.lose()
    await advance(0)
    hop.join()
    assert hop.packet_kinds() == [packet_types.RESET]


@in_still_time
async def test_a_reset_from_the_tunnel_aborts_the_socket() -> None:
    hop = Hop().join()
    hop.connection.peer_reset("the other end broke")
    assert hop.socket.aborted


@in_still_time
async def test_a_relay_takes_over_a_socket_that_another_protocol_has_read_from() -> None:
    hop = Hop()
    taken = Relay(asyncio.get_running_loop(), ClosingSockets())
    taken.adopt(hop.socket)
    hop.connection.attach(taken)
    taken.attach(hop.connection, early=b"read before", ended=True)
    assert hop.tunnel.payload() == b"read before"
    assert hop.packet_kinds() == [packet_types.DATA_END]

"""Dialing end of a tunnel against a far end that answers by hand, packet by packet."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity import wire
from konnectivity.errors import DialError, DialFailure
from konnectivity.grpc.status import Code, Status
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import packet_types
from support.memory_dials import MemoryDial
from support.memory_server import advance, in_still_time
from support.memory_streams import stream_pair


class Line:
    """Dialing tunnel, how long each of its dials took and whether it was refused, and the packets at the far end."""

    def __init__(self, extension: bool = True, most_pending: int = 100) -> None:
        self.near, self.far = stream_pair()
        self.options = TunnelOptions(clock=asyncio.get_running_loop().time)
        self.settled: list[tuple[float, bool]] = []
        self.tunnel = self.near.receiver = DialingTunnel(
            self.near, self.options, sides.SERVER, sides.CLIENT, lambda *settled: self.settled.append(settled)
        )
        self.tunnel.most_pending = most_pending
        if extension:
            self.tunnel.negotiate(Extension(4096))
        self.far.receiver = self
        self.packets: list[wire.Packet] = []

    def message_received(self, message: memoryview) -> None:
        packet = wire.decode(message)
        assert packet is not None
        self.packets.append(packet)

    def stream_closed(self, status: Status) -> None:
        return

    def pause_writing(self) -> None:
        return

    def resume_writing(self) -> None:
        return

    def heard(self, kind: int) -> list[wire.Packet]:
        """Return the packets of one type that arrived."""
        self.far.deliver()
        return [packet for packet in self.packets if packet.type == kind]

    def requests(self) -> list[tuple[int, str, str]]:
        found = self.heard(packet_types.DIAL_REQ)
        return [(each.random, each.protocol, each.address) for each in found]

    def says(self, packet: bytes) -> None:
        self.far.send(packet)
        self.near.deliver()


@in_still_time
async def test_a_request_has_a_number_that_is_paired_with_the_answer():
    line = Line()
    dials = [MemoryDial("one:1"), MemoryDial("two:2", "tcp6", origin="the client")]
    numbers = [line.tunnel.ask(dial) for dial in dials]
    assert line.requests() == [(numbers[0], "tcp", "one:1"), (numbers[1], "tcp6", "two:2")]
    await advance(0.25)
    line.says(wire.dial_rsp(numbers[1], 7))
    connection = dials[1].connection
    assert connection is not None
    assert (connection.connect_id, connection.destination, connection.origin) == (7, "two:2", "the client")
    assert dials[0].connection is None
    assert line.tunnel.unanswered == 1
    assert line.settled == [(0.25, False)]


@in_still_time
async def test_an_error_is_the_answer_of_one_dial_only():
    line = Line()
    dials = [MemoryDial(), MemoryDial()]
    numbers = [line.tunnel.ask(dial) for dial in dials]
    line.says(wire.dial_rsp(numbers[0], error="connection refused"))
    assert (dials[0].error.failure, str(dials[0].error)) == (DialFailure.ENDPOINT, "connection refused")
    assert dials[1].errors == []
    assert line.settled == [(0.0, True)]


@in_still_time
async def test_a_dial_that_the_far_end_closes_has_failed():
    line = Line()
    dial = MemoryDial()
    line.says(wire.close_dial(line.tunnel.ask(dial)))
    assert dial.error.failure is DialFailure.CLOSED_BY_AGENT


@pytest.mark.parametrize("connect_id", [0, 7])
@in_still_time
async def test_an_answer_with_an_id_that_cannot_be_is_a_failure_of_the_protocol(connect_id):
    line = Line()
    first, second = MemoryDial(), MemoryDial()
    line.says(wire.dial_rsp(line.tunnel.ask(first), 7))
    line.says(wire.dial_rsp(line.tunnel.ask(second), connect_id))
    assert second.error.failure is DialFailure.PROTOCOL
    assert first.connection is not None
    assert not first.connection.closed


@pytest.mark.parametrize(
    ("extension", "kind"), [(True, packet_types.RESET), (False, packet_types.CLOSE_REQ)], ids=["extension", "reference"]
)
@in_still_time
async def test_a_connection_for_a_dial_that_was_withdrawn_is_closed(extension, kind):
    line = Line(extension)
    dial = MemoryDial()
    number = line.tunnel.ask(dial)
    assert line.tunnel.withdraw(number)
    assert not line.tunnel.withdraw(number)
    assert [packet.random for packet in line.heard(packet_types.DIAL_CLS)] == [number]
    line.says(wire.dial_rsp(number, 9))
    assert len(line.heard(kind)) == 1
    assert (dial.connection, dial.errors) == (None, [])
    assert line.options.traffic.dial_failures == {"unrecognized_response": 1}


@in_still_time
async def test_a_withdrawal_counts_as_the_failure_that_is_given():
    line = Line()
    line.tunnel.withdraw(line.tunnel.ask(MemoryDial()))
    assert line.options.traffic.dial_failures == {}
    line.tunnel.withdraw(line.tunnel.ask(MemoryDial()), DialFailure.TIMEOUT)
    assert line.options.traffic.dial_failures == {"backend_dial_timeout": 1}


@in_still_time
async def test_a_forged_answer_opens_nothing_and_fails_nothing():
    line = Line()
    dial = MemoryDial()
    number = line.tunnel.ask(dial)
    line.says(wire.dial_rsp(number + 1, 3))
    line.says(wire.dial_rsp(number + 1, error="no"))
    line.says(wire.close_dial(number + 1))
    assert (dial.connection, dial.errors) == (None, [])
    assert not line.tunnel.connections


@in_still_time
async def test_a_connection_that_nobody_wants_is_reset():
    line = Line()
    dial = MemoryDial(wanted=False)
    line.says(wire.dial_rsp(line.tunnel.ask(dial), 5))
    (reset,) = line.heard(packet_types.RESET)
    assert (reset.connect_id, reset.reason) == (5, "nobody waits for this connection")
    assert not line.tunnel.connections
    assert line.options.traffic.dial_failures == {"send_rsp": 1}


@in_still_time
async def test_queued_dials_are_asked_for_in_their_order_as_others_end():
    line = Line(most_pending=1)
    dials = [MemoryDial(f"node:{number}") for number in range(1, 5)]
    numbers = [line.tunnel.ask(dial) for dial in dials]
    assert [address for _, _, address in line.requests()] == ["node:1"]
    assert (line.tunnel.unanswered, len(list(line.tunnel.unanswered_dials()))) == (4, 4)
    line.tunnel.withdraw(numbers[1])
    assert line.heard(packet_types.DIAL_CLS) == [], "the far end knows nothing of a queued dial"
    await advance(2.0)
    line.says(wire.dial_rsp(numbers[0], error="no"))
    assert [address for _, _, address in line.requests()] == ["node:1", "node:3"]
    await advance(0.5)
    line.tunnel.withdraw(numbers[2])
    assert [address for _, _, address in line.requests()] == ["node:1", "node:3", "node:4"]
    assert line.settled == [(2.0, True), (0.5, False)]
    assert line.options.reached == {"pending_dials_per_agent": 3}


@in_still_time
async def test_an_answer_to_a_queued_dial_is_not_taken_for_one():
    line = Line(most_pending=1)
    line.tunnel.ask(MemoryDial())
    queued = MemoryDial()
    line.says(wire.dial_rsp(line.tunnel.ask(queued), 3))
    assert (queued.connection, line.tunnel.unanswered) == (None, 2)


@in_still_time
async def test_a_lost_tunnel_fails_pending_and_queued_dials_and_takes_no_new_ones():
    line = Line(most_pending=1)
    dials = [MemoryDial(), MemoryDial()]
    for dial in dials:
        line.tunnel.ask(dial)
    line.far.finish(Status(Code.UNAVAILABLE, "cut"))
    assert [(dial.error.failure, str(dial.error)) for dial in dials] == [(DialFailure.TUNNEL_LOST, "cut")] * 2
    with pytest.raises(DialError, match="tunnel is closed"):
        line.tunnel.ask(MemoryDial())
    assert line.tunnel.unanswered == 0


@in_still_time
async def test_data_for_a_connection_that_does_not_exist_is_answered_with_a_close_on_the_reference_protocol():
    line = Line(extension=False)
    line.far.send(wire.data_head(4, 2), b"hi")
    line.near.deliver()
    assert [packet.connect_id for packet in line.heard(packet_types.CLOSE_REQ)] == [4]

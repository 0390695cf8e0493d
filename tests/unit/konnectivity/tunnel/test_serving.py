"""Serving end of a tunnel: dials arrive as packets, and an opener answers them."""

from __future__ import annotations

import pytest

from konnectivity import wire
from konnectivity.errors import NO_MEMORY, DialError, DialFailure
from konnectivity.grpc.status import Status
from konnectivity.tunnel import sides
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import packet_types
from support.memory_dials import MemorySocket
from support.memory_server import in_still_time
from support.memory_streams import stream_pair


class Line:
    """Serving tunnel, the dials that its opener got, and the packets that arrive at the far end."""

    def __init__(self, extension: bool = True, single: bool = False) -> None:
        self.far, self.near = stream_pair()
        self.options = TunnelOptions()
        self.dials: list[IncomingDial] = []
        self.tunnel = self.near.receiver = ServingTunnel(
            self.near, self.options, sides.AGENT, sides.TARGET, self.dials.append, single
        )
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

    def says(self, *packets: bytes) -> None:
        for packet in packets:
            self.far.send(packet)
        self.near.deliver()

    def answers(self) -> list[tuple[int, int, str]]:
        """Return random number, connection id and error of each answer to a dial."""
        self.far.deliver()
        found = [packet for packet in self.packets if packet.type == packet_types.DIAL_RSP]
        return [(each.random, each.connect_id, each.error) for each in found]

    def closes(self) -> list[tuple[int, str]]:
        self.far.deliver()
        found = [packet for packet in self.packets if packet.type == packet_types.CLOSE_RSP]
        return [(each.connect_id, each.error) for each in found]


@in_still_time
async def test_dials_are_opened_and_answered_in_any_order_with_ids_in_the_order_of_answers():
    line = Line()
    line.says(
        wire.dial_req("one:1", 11, "tcp"), wire.dial_req("two:2", 22, "tcp6"), wire.dial_req("three:3", 33, "tcp")
    )
    assert [(dial.protocol, dial.address) for dial in line.dials] == [
        ("tcp", "one:1"),
        ("tcp6", "two:2"),
        ("tcp", "three:3"),
    ]
    connection = line.dials[1].connected(MemorySocket())
    line.dials[2].failed("connection refused")
    line.dials[0].connected(MemorySocket())
    assert connection is not None
    assert connection.destination == "two:2"
    assert line.answers() == [(22, 1, ""), (33, 0, "connection refused"), (11, 2, "")]
    assert not line.tunnel.opening


@in_still_time
async def test_a_cancelled_dial_tells_its_opener_and_is_not_answered():
    line = Line()
    line.says(wire.dial_req("one:1", 11, "tcp"))
    (dial,) = line.dials
    told = []
    dial.on_cancel = lambda: told.append("cancelled")
    line.says(wire.close_dial(11), wire.close_dial(11))
    assert (dial.cancelled, told) == (True, ["cancelled"])
    assert dial.connected(MemorySocket()) is None
    dial.failed("too late")
    assert line.answers() == []


@in_still_time
async def test_an_answered_dial_cannot_be_cancelled_any_more():
    line = Line()
    line.says(wire.dial_req("one:1", 11, "tcp"))
    (dial,) = line.dials
    dial.on_cancel = lambda: pytest.fail("it was answered")
    dial.connected(MemorySocket())
    line.says(wire.close_dial(11))
    assert not dial.cancelled
    assert line.answers() == [(11, 1, "")]


@in_still_time
async def test_a_late_answer_does_not_answer_a_new_dial_with_the_same_number():
    line = Line()
    line.says(wire.dial_req("old:1", 11, "tcp"), wire.close_dial(11), wire.dial_req("new:1", 11, "tcp"))
    old, new = line.dials
    old.failed("of the old one")
    assert old.connected(MemorySocket()) is None
    assert line.answers() == []
    new.connected(MemorySocket())
    assert line.answers() == [(11, 1, "")]


@in_still_time
async def test_a_number_that_is_pending_already_is_refused():
    line = Line()
    line.says(wire.dial_req("one:1", 11, "tcp"), wire.dial_req("two:2", 11, "tcp"))
    assert len(line.dials) == 1
    assert line.answers() == [(11, 0, "a dial with this id is already under way")]


@in_still_time
async def test_dials_are_refused_while_the_memory_is_used_up():
    line = Line()
    line.tunnel.memory.book(line.options.memory.tunnel_budget)
    line.says(wire.dial_req("one:1", 11, "tcp"))
    assert (line.dials, line.answers()) == ([], [(11, 0, NO_MEMORY)])
    assert line.options.memory.refused_dials == 1


@in_still_time
async def test_the_end_of_the_stream_cancels_every_dial():
    line = Line()
    line.says(wire.dial_req("one:1", 11, "tcp"), wire.dial_req("two:2", 22, "tcp"))
    line.far.abort("cut")
    assert [dial.cancelled for dial in line.dials] == [True, True]
    assert not line.tunnel.opening


@in_still_time
async def test_a_single_stream_of_the_reference_protocol_carries_one_connection():
    line = Line(extension=False, single=True)
    line.says(wire.dial_req("one:1", 11, "tcp"), wire.dial_req("two:2", 22, "tcp"))
    line.dials[0].connected(MemorySocket())
    line.says(wire.dial_req("three:3", 33, "tcp"))
    text = "this stream already carries a connection: open another"
    assert line.answers() == [(22, 0, text), (11, 1, ""), (33, 0, text)]


@in_still_time
async def test_the_error_of_a_dial_through_another_tunnel_is_the_answer():
    line = Line()
    line.says(wire.dial_req("one:1", 11, "tcp"))
    line.dials[0].dial_failed(DialError(DialFailure.TIMEOUT, "timed out waiting for backend dial"))
    assert line.answers() == [(11, 0, "timed out waiting for backend dial")]


@pytest.mark.parametrize(
    ("single", "dialled", "data", "close"),
    [
        (False, True, "unrecognized connectID", "Unknown connectID"),
        (True, True, "mismatched connection IDs", "Unknown connectID"),
        (True, False, "backend not initialized", "backend uninitialized"),
    ],
)
@in_still_time
async def test_packets_for_a_connection_that_does_not_exist_are_answered_in_the_words_of_the_reference(
    single, dialled, data, close
):
    line = Line(extension=False, single=single)
    if dialled:
        line.says(wire.dial_req("one:1", 11, "tcp"))
        line.dials[0].connected(MemorySocket())
    line.far.send(wire.data_head(4, 2), b"hi")
    line.near.deliver()
    line.says(wire.close_req(5))
    assert line.closes() == [(4, data), (5, close)]

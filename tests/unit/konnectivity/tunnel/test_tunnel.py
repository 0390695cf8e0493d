"""One end of a tunnel: packets of the peer, expected and not, and the end of its stream."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity import wire
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, Status
from konnectivity.proto.client_pb2 import Packet
from konnectivity.tunnel import sides
from konnectivity.tunnel.extension import EXTENSION, Extension
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel import ANSWERS_PER_S
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import packet_types
from support.memory_server import in_still_time
from support.memory_streams import MemoryStream, stream_pair
from support.still_tunnel_side import StillLocalSide


class Agent:
    """Serving end of a tunnel, and the server's end of its stream, at which the test speaks."""

    def __init__(self, extension: bool = True) -> None:
        self.far, self.near = stream_pair()
        self.options = TunnelOptions(MemoryBudget())
        self.targets: list[StillLocalSide] = []
        self.tunnel = ServingTunnel(self.near, self.options, sides.AGENT, sides.TARGET, self._open)
        self.near.receiver = self.tunnel
        if extension:
            self.tunnel.call_accepted(Metadata(Extension(65_536).header().items()))

    def _open(self, dial: IncomingDial) -> None:
        self.targets.append(StillLocalSide())
        dial.connected(self.targets[-1])

    def hear(self, *messages: bytes) -> None:
        """Deliver packets of the server."""
        for message in messages:
            self.far.send(message)
        self.near.deliver()

    def answers(self) -> list[wire.Packet]:
        """Return the packets sent to the server, and clear them."""
        packets = [packet for message in self.far.inbox if (packet := wire.decode(message)) is not None]
        self.far.inbox.clear()
        self.far.inbox_bytes = 0
        return packets

    def dial(self) -> StillLocalSide:
        """Open connection 1 and return its target."""
        self.hear(wire.dial_req("target:1", 7))
        assert self.answers()[0].connect_id == 1
        return self.targets[-1]


def data(connect_id: int, payload: bytes) -> bytes:
    return wire.data_head(connect_id, len(payload)) + payload


@in_still_time
async def test_data_is_passed_on_to_its_connection_and_counted() -> None:
    agent = Agent()
    target = agent.dial()
    agent.hear(data(1, b"question"))
    assert target.taken == b"question"
    assert agent.options.traffic.received_bytes == 8
    assert agent.options.traffic.received_data == 1


@in_still_time
async def test_data_in_an_unusual_layout_is_passed_on_too() -> None:
    agent = Agent()
    target = agent.dial()
    packet = Packet(type=packet_types.DATA)
    packet.data.connectID = 1
    packet.data.error = "not used"
    packet.data.data = b"question"
    agent.hear(packet.SerializeToString())
    assert target.taken == b"question"


@in_still_time
async def test_half_closes_end_a_connection_in_both_orders() -> None:
    agent = Agent()
    target = agent.dial()
    agent.hear(wire.data_end(1, 0))
    assert target.news == ["end"]
    agent.tunnel.connections[1].local_end()
    assert [packet.type for packet in agent.answers()] == [packet_types.DATA_END]
    assert target.news == ["end", "close"]
    assert agent.tunnel.connections == {}


@pytest.mark.parametrize(
    ("packet", "news"),
    [
        (wire.reset(1, sides.CLIENT, "the client broke", 0, 0), "abort: the client broke"),
        (wire.close_req(1), "abort: closed by the peer"),
        (wire.data_end(1, 5), "abort: protocol violation: 5 bytes of 5 are missing at the end of data"),
        (wire.credit(1, 0), "abort: protocol violation: credit of 0 bytes"),
    ],
)
@in_still_time
async def test_packets_that_end_a_connection(packet: bytes, news: str) -> None:
    agent = Agent()
    target = agent.dial()
    agent.hear(packet)
    assert target.news == [news]
    assert agent.tunnel.connections == {}


@pytest.mark.parametrize(("extension", "kind"), [(True, packet_types.RESET), (False, packet_types.CLOSE_RSP)])
@in_still_time
async def test_data_for_an_unknown_connection_is_answered(extension: bool, kind: int) -> None:
    agent = Agent(extension)
    agent.hear(data(99, b"anybody?"))
    assert [packet.type for packet in agent.answers()] == [kind]
    assert agent.options.traffic.unknown_connections == 1


@in_still_time
async def test_answers_about_unknown_connections_are_limited() -> None:
    agent = Agent()
    agent.hear(*[data(99, b"x")] * (ANSWERS_PER_S + 10))
    assert len(agent.answers()) == ANSWERS_PER_S
    assert agent.options.reached["unknown_connections"] == 10


@in_still_time
async def test_a_message_that_is_no_packet_is_counted_and_ends_nothing() -> None:
    agent = Agent()
    target = agent.dial()
    agent.hear(b"\xff\xff\xff", data(1, b"still here"))
    assert agent.options.traffic.bad_packets == 1
    assert target.taken == b"still here"


@in_still_time
async def test_late_packets_of_a_connection_that_is_over_have_no_effect() -> None:
    agent = Agent()
    agent.hear(wire.credit(5, 100), wire.data_end(5, 0), wire.stop(5, "late"), wire.reset(5, 1, "late", 0, 0))
    assert agent.answers() == []


@in_still_time
async def test_packets_of_the_extension_have_no_effect_on_a_peer_that_did_not_offer_it() -> None:
    agent = Agent(extension=False)
    target = agent.dial()
    agent.hear(wire.reset(1, 1, "not for us", 0, 0))
    assert target.news == []


@in_still_time
async def test_a_peer_that_drains_is_noted() -> None:
    agent = Agent()
    agent.hear(wire.drain())
    assert agent.tunnel.draining


@in_still_time
async def test_the_end_of_the_stream_is_an_error_of_every_connection_and_is_counted() -> None:
    agent = Agent()
    target = agent.dial()
    agent.near.abort("cut")
    await asyncio.sleep(0)
    assert target.news[0].startswith("abort: tunnel lost")
    assert agent.tunnel.closed
    assert agent.tunnel.connections == {}
    assert agent.options.traffic.streams == 0
    assert agent.options.traffic.stream_errors == {"CANCELLED": 1}
    assert agent.options.memory.used == 0


@in_still_time
async def test_a_closed_tunnel_ends_its_stream_once() -> None:
    agent = Agent()
    agent.tunnel.close(Status(Code.UNAVAILABLE, "enough"))
    agent.tunnel.close()
    assert agent.options.traffic.stream_errors == {"UNAVAILABLE": 1}


class AcceptedStream(MemoryStream):
    """Stream of a call that a peer made, with the response headers that it was accepted with."""

    def __init__(self, metadata: Metadata) -> None:
        super().__init__("peer")
        self.metadata = metadata
        self.headers: dict[str, str] = {}

    def accept(self, metadata: dict[str, str]) -> None:
        self.headers = metadata


@pytest.mark.parametrize(
    ("offered", "wanted", "spoken"), [(True, True, True), (True, False, False), (False, True, False)]
)
@in_still_time
async def test_the_extension_is_spoken_if_both_sides_offer_it(offered: bool, wanted: bool, spoken: bool) -> None:
    stream = AcceptedStream(Metadata(Extension(1000).header().items() if offered else ()))
    options = TunnelOptions(MemoryBudget(), extension=wanted)
    tunnel = ServingTunnel(stream, options, sides.SERVER, sides.CLIENT, lambda dial: None)
    tunnel.accept_call({"serverid": "one"}, "word")
    assert stream.headers["serverid"] == "one"
    assert (EXTENSION in stream.headers) is spoken
    assert (tunnel.extension == Extension(1000)) is spoken
    assert (options.offer() != {}) is wanted

"""Connection as an asyncio transport: conversations of a protocol with a tunnel in memory."""

from __future__ import annotations

import asyncio

from konnectivity.client.connection_transport import ConnectionTransport, streams_of
from konnectivity.errors import TunnelLost
from konnectivity.tunnel.connection import Connection
from konnectivity.wire import packet_types
from support.memory_server import advance, in_still_time
from support.still_tunnel_side import StillTunnelSide


class Application(asyncio.Protocol):
    """Protocol that records its calls."""

    def __init__(self, keeps_open: bool = True) -> None:
        self.heard = b""
        self.news: list[str] = []
        self.error: Exception | None = None
        self._keeps_open = keeps_open

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def eof_received(self) -> bool:
        self.news.append("eof")
        return self._keeps_open

    def pause_writing(self) -> None:
        self.news.append("pause")

    def resume_writing(self) -> None:
        self.news.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.news.append("lost")
        self.error = exc


def joined(
    credit: int = 64 * 1024, keeps_open: bool = True
) -> tuple[StillTunnelSide, Connection, Application, ConnectionTransport]:
    tunnel, application = StillTunnelSide(), Application(keeps_open)
    connection = tunnel.open(credit)
    return tunnel, connection, application, ConnectionTransport(connection, application)


def kinds(tunnel: StillTunnelSide) -> list[int]:
    return [packet.type for packet in tunnel.packets]


@in_still_time
async def test_bytes_pass_both_ways() -> None:
    tunnel, connection, application, transport = joined()
    transport.write(b"ques")
    transport.writelines([b"ti", b"on"])
    assert tunnel.payload() == b"question"
    connection.inbound.receive(memoryview(b"answer"))
    assert application.heard == b"answer"


@in_still_time
async def test_an_application_is_paused_while_there_is_no_credit() -> None:
    tunnel, connection, application, transport = joined(credit=4)
    transport.write(b"0123456789")
    assert application.news == ["pause"]
    assert transport.get_write_buffer_size() == 6
    connection.outbound.add_credit(100)
    assert application.news == ["pause", "resume"]
    assert tunnel.payload() == b"0123456789"


@in_still_time
async def test_data_waits_for_an_application_that_does_not_read() -> None:
    tunnel, connection, application, transport = joined()
    transport.pause_reading()
    connection.inbound.receive(memoryview(bytes(40_000)))
    connection.inbound.receive(memoryview(b"end"))
    assert application.heard == b""
    assert tunnel.memory.used == 40_003
    transport.resume_reading()
    await advance(0)
    assert application.heard == bytes(40_000) + b"end"
    assert tunnel.memory.used == 0
    assert kinds(tunnel) == [packet_types.CREDIT]


@in_still_time
async def test_the_end_of_input_is_told_behind_all_data() -> None:
    _, connection, application, transport = joined()
    transport.pause_reading()
    connection.inbound.receive(memoryview(b"last words"))
    connection.peer_end(10)
    assert application.news == []
    transport.resume_reading()
    await advance(0)
    assert application.heard == b"last words"
    assert application.news == ["eof"]
    assert not transport.is_closing()


@in_still_time
async def test_an_application_that_keeps_its_output_open_may_answer_after_the_end_of_input() -> None:
    tunnel, connection, application, transport = joined()
    connection.peer_end(0)
    transport.write(b"answer")
    transport.write_eof()
    await advance(0)
    assert tunnel.payload() == b"answer"
    assert kinds(tunnel) == [packet_types.DATA_END]
    assert application.news == ["eof", "lost"]
    assert application.error is None


@in_still_time
async def test_an_application_that_does_not_keep_its_output_open_closes_at_the_end_of_input() -> None:
    tunnel, connection, application, _ = joined(keeps_open=False)
    connection.peer_end(0)
    await advance(0)
    await advance(0)
    assert kinds(tunnel) == [packet_types.DATA_END]
    assert application.news == ["eof", "lost"]


@in_still_time
async def test_a_close_sends_what_waits_and_takes_no_more_input() -> None:
    tunnel, connection, application, transport = joined(credit=4)
    transport.write(b"0123456789")
    transport.close()
    transport.write(b"late")
    connection.inbound.receive(memoryview(b"late"))
    connection.outbound.add_credit(100)
    assert tunnel.payload() == b"0123456789"
    assert kinds(tunnel) == [packet_types.STOP, packet_types.DATA_END]
    assert application.heard == b""


@in_still_time
async def test_an_abort_is_a_reset() -> None:
    tunnel, _, application, transport = joined()
    transport.abort()
    transport.abort()
    await advance(0)
    assert kinds(tunnel) == [packet_types.RESET]
    assert application.news == ["lost"]
    assert transport.is_closing()


@in_still_time
async def test_a_reset_of_the_peer_is_an_error_of_the_application() -> None:
    _, connection, application, _ = joined()
    connection.peer_reset("the target broke")
    await advance(0)
    assert application.news == ["lost"]
    assert isinstance(application.error, TunnelLost)
    assert "the target broke" in str(application.error)


@in_still_time
async def test_streams_read_and_write_a_connection() -> None:
    tunnel = StillTunnelSide()
    connection = tunnel.open()
    reader, writer = streams_of(connection)
    writer.write(b"question")
    connection.inbound.receive(memoryview(b"answer"))
    connection.peer_end(6)
    assert await reader.read() == b"answer"
    assert tunnel.payload() == b"question"
    writer.close()
    await writer.wait_closed()
    assert kinds(tunnel) == [packet_types.DATA_END]

"""Outbound direction of a connection: bytes that wait for credit or for a turn on the stream."""

from __future__ import annotations

from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.outbound_queue import MAX_PAYLOAD, REFERENCE_PAYLOAD
from konnectivity.tunnel.states import REFERENCE_DIALING
from konnectivity.wire import packet_types
from support.still_tunnel_side import StillLocalSide, StillTunnelSide


def attached(credit: int | None = 1 << 20) -> tuple[StillTunnelSide, Connection, StillLocalSide]:
    tunnel, local_side = StillTunnelSide(), StillLocalSide()
    connection = tunnel.open(credit) if credit is not None else tunnel.open(None, REFERENCE_DIALING)
    connection.attach(local_side)
    return tunnel, connection, local_side


def test_data_is_sent_at_once_while_there_is_credit_and_nobody_waits() -> None:
    tunnel, connection, local_side = attached()
    assert connection.outbound.send(b"now")
    assert tunnel.payload() == b"now"
    assert local_side.news == []


def test_data_waits_while_the_stream_is_congested_and_its_local_side_is_paused() -> None:
    tunnel, connection, local_side = attached()
    tunnel.scheduler.pause()
    assert not connection.outbound.send(b"first ")
    assert not connection.outbound.send(b"second")
    assert local_side.news == ["pause"]
    assert tunnel.memory.used == 12
    tunnel.scheduler.resume()
    assert tunnel.payload() == b"first second"
    assert local_side.news == ["pause", "resume"]
    assert tunnel.memory.used == 0


def test_data_without_credit_waits_for_credit_and_the_wait_is_counted() -> None:
    tunnel, connection, local_side = attached(credit=4)
    assert not connection.outbound.send(b"0123456789")
    assert tunnel.payload() == b"0123"
    assert tunnel.traffic.starved == 1
    tunnel.now += 2.5
    connection.outbound.add_credit(100)
    assert tunnel.payload() == b"456789"
    assert tunnel.traffic.starved == 0
    assert tunnel.traffic.starved_seconds == 2.5
    assert local_side.news == ["pause", "resume"]


def test_packets_are_no_larger_than_the_peer_takes() -> None:
    for credit, largest in ((1 << 20, MAX_PAYLOAD), (None, REFERENCE_PAYLOAD)):
        tunnel, connection, _ = attached(credit)
        connection.outbound.send(bytes(200_000))
        assert sum(len(data) for _, data in tunnel.data) == 200_000
        assert max(len(data) for _, data in tunnel.data) == largest


def test_a_keystroke_is_sent_before_the_rest_of_a_bulk_transfer() -> None:
    tunnel, bulk, _ = attached()
    key = tunnel.open()
    tunnel.scheduler.pause()
    bulk.outbound.send(bytes(500_000))
    key.outbound.send(b"k")
    tunnel.scheduler.resume()
    order = [number for number, _ in tunnel.data]
    assert order.index(key.connect_id) < 3


def test_an_end_is_sent_behind_everything_that_waits() -> None:
    tunnel, connection, _ = attached()
    tunnel.scheduler.pause()
    connection.outbound.send(b"data")
    connection.local_end()
    assert tunnel.packets == []
    tunnel.scheduler.resume()
    assert tunnel.payload() == b"data"
    assert [packet.type for packet in tunnel.packets] == [packet_types.DATA_END]
    assert tunnel.packets[0].total == 4


def test_data_after_the_end_is_dropped() -> None:
    tunnel, connection, _ = attached()
    connection.local_end()
    assert connection.outbound.send(b"late")
    assert tunnel.payload() == b""


def test_a_peer_that_takes_no_more_lets_its_local_side_go_on_without_effect() -> None:
    tunnel, connection, local_side = attached(credit=4)
    connection.outbound.send(b"0123456789")
    tunnel.payload()
    connection.peer_stop("enough")
    assert local_side.news == ["pause", "resume"]
    assert connection.outbound.send(b"dropped")
    assert tunnel.payload() == b""
    assert tunnel.memory.used == 0


def test_credit_that_no_peer_may_grant_ends_the_connection() -> None:
    for size in (0, -1, 1 << 62):
        tunnel, connection, local_side = attached()
        connection.outbound.add_credit(size)
        assert connection.closed
        assert tunnel.packets[-1].type == packet_types.RESET
        assert local_side.news == [f"abort: protocol violation: credit of {size} bytes"]


def test_a_closed_connection_gives_back_its_memory_and_its_place_in_the_scheduler() -> None:
    tunnel, connection, _ = attached()
    tunnel.scheduler.pause()
    connection.outbound.send(b"never sent")
    connection.peer_reset("gone")
    assert tunnel.memory.used == 0
    tunnel.scheduler.resume()
    assert tunnel.payload() == b""
    assert tunnel.scheduler.clear

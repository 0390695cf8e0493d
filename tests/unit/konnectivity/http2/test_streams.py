"""Ids of streams, and the record of closed streams."""

from __future__ import annotations

import pytest

from konnectivity.http2.frames import MAX_STREAM_ID
from konnectivity.http2.stream_state import Http2Stream
from konnectivity.http2.streams import StreamTable


def opened(table: StreamTable, stream_id: int) -> Http2Stream:
    stream = table.open[stream_id] = Http2Stream(stream_id, 100, 100)
    return stream


def test_a_client_has_the_odd_ids() -> None:
    table = StreamTable(client=True)
    assert [table.is_idle(stream_id) for stream_id in (0, 1, 2, 3)] == [True] * 4
    assert [table.next_local_id(), table.next_local_id()] == [1, 3]
    assert [table.is_idle(stream_id) for stream_id in (0, 1, 2, 3, 5)] == [True, False, True, False, True]


def test_a_servers_peer_has_the_odd_ids() -> None:
    table = StreamTable(client=False)
    table.last_remote = 5
    assert [table.is_idle(stream_id) for stream_id in (0, 1, 2, 3, 5, 7)] == [True, False, True, False, False, True]


def test_ids_run_out() -> None:
    table = StreamTable(client=True)
    table.last_local = MAX_STREAM_ID - 2
    assert table.next_local_id() == MAX_STREAM_ID
    with pytest.raises(ConnectionError, match="all stream ids"):
        table.next_local_id()
    assert not table.is_idle(MAX_STREAM_ID)


def test_a_stream_is_done_when_both_halves_are() -> None:
    table = StreamTable(client=False)
    stream = opened(table, 1)
    stream.local_closed = True
    table.close_if_done(stream)
    stream.remote_closed = True
    stream.queued = 3
    table.close_if_done(stream)
    assert table.open == {1: stream}
    stream.queued = 0
    table.close_if_done(stream)
    assert not table.open
    assert table.reset_by_us(1) is False


def test_who_reset_a_stream_is_remembered_for_a_while() -> None:
    table = StreamTable(client=False)
    for stream_id in range(1, 513, 2):
        opened(table, stream_id)
        table.close(stream_id, by_us=stream_id % 4 == 1)
    assert [table.reset_by_us(stream_id) for stream_id in (1, 3, 511, 513)] == [True, False, False, None]
    table.close(513, by_us=True)  # refused, never open
    assert [table.reset_by_us(stream_id) for stream_id in (1, 3, 513)] == [None, False, True]

"""Inbound direction of a connection: bytes for the local side, and the credit granted for more."""

from __future__ import annotations

from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.states import REFERENCE_SERVING
from konnectivity.wire import packet_types
from support.still_tunnel_side import StillLocalSide, StillTunnelSide

WINDOW = 4096


def attached(windowed: bool = True) -> tuple[StillTunnelSide, Connection, StillLocalSide]:
    budget = MemoryBudget(initial_window=WINDOW, max_window=WINDOW, connection_budget=WINDOW)
    tunnel, local_side = StillTunnelSide(budget), StillLocalSide()
    connection = tunnel.open() if windowed else tunnel.open(None, REFERENCE_SERVING, dialing=False)
    connection.attach(local_side)
    return tunnel, connection, local_side


def receive(connection: Connection, size: int) -> None:
    connection.inbound.receive(memoryview(bytes(size)))


def granted(tunnel: StillTunnelSide) -> int:
    """Return the credit granted since the last call."""
    size = sum(packet.size for packet in tunnel.packets if packet.type == packet_types.CREDIT)
    tunnel.packets.clear()
    return size


def test_credit_is_returned_in_portions_of_half_a_window() -> None:
    tunnel, connection, local_side = attached()
    receive(connection, WINDOW // 2 - 1)
    assert granted(tunnel) == 0
    receive(connection, 1)
    assert granted(tunnel) == WINDOW // 2
    assert len(local_side.taken) == WINDOW // 2


def test_a_blocked_local_side_gets_its_window_and_no_more_is_granted_until_data_has_left() -> None:
    tunnel, connection, local_side = attached()
    local_side.blocked = True
    receive(connection, WINDOW)
    assert granted(tunnel) == 0
    assert tunnel.memory.used == WINDOW
    assert local_side.news == [f"watch {WINDOW // 2}"]
    local_side.kept = WINDOW // 2
    connection.inbound.local_progress()
    assert granted(tunnel) == WINDOW // 2
    assert tunnel.memory.used == WINDOW // 2
    local_side.kept = 0
    connection.inbound.local_drained()
    assert granted(tunnel) == WINDOW // 2
    assert tunnel.memory.used == 0


def test_the_time_that_a_local_side_is_blocked_is_counted() -> None:
    tunnel, connection, local_side = attached()
    local_side.blocked = True
    receive(connection, 10)
    assert tunnel.traffic.stalled == 1
    tunnel.now += 3.0
    connection.inbound.local_drained()
    assert tunnel.traffic.stalled == 0
    assert tunnel.traffic.stall_seconds.total == 3.0


def test_more_data_than_granted_ends_the_connection() -> None:
    tunnel, connection, local_side = attached()
    receive(connection, WINDOW + 1)
    assert connection.closed
    assert local_side.news == ["abort: protocol violation: more DATA than was granted"]
    assert tunnel.packets[-1].type == packet_types.RESET


def test_data_after_the_end_of_data_ends_the_connection() -> None:
    _, connection, local_side = attached()
    receive(connection, 5)
    connection.peer_end(5)
    assert local_side.news == ["end"]
    receive(connection, 1)
    assert local_side.news[-1] == "abort: protocol violation: DATA after the end of data"


def test_data_for_a_local_side_that_takes_no_more_is_dropped() -> None:
    tunnel, connection, local_side = attached()
    connection.local_gone()
    receive(connection, 100)
    assert local_side.taken == b""
    assert tunnel.memory.used == 0


def test_a_peer_without_credit_that_goes_over_the_budget_holds_the_stream_until_data_has_left() -> None:
    tunnel, connection, local_side = attached(windowed=False)
    local_side.blocked = True
    receive(connection, WINDOW)
    assert not tunnel.held
    receive(connection, 1)
    assert tunnel.held == {connection.inbound}
    assert not connection.inbound.relieved()
    local_side.kept = WINDOW // 2
    assert connection.inbound.relieved()
    connection.inbound.local_drained()
    assert not tunnel.held


def test_a_connection_that_is_over_its_budget_for_too_long_ends_with_that_cause() -> None:
    _, connection, local_side = attached(windowed=False)
    connection.inbound.over_budget("over its budget")
    assert connection.cause == "budget"
    assert local_side.news == ["abort: over its budget"]


def test_a_closed_connection_gives_back_its_memory_its_window_and_its_hold() -> None:
    for windowed in (True, False):
        tunnel, connection, local_side = attached(windowed)
        local_side.blocked = True
        receive(connection, WINDOW)
        connection.peer_reset("gone")
        assert tunnel.memory.used == 0
        assert tunnel.traffic.stalled == 0
        assert not tunnel.held
        assert connection.inbound.window is None

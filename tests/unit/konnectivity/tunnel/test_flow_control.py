"""Windows of a tunnel: the size of one, and the sum of all windows of a tunnel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tunnel import flow_control
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.flow_control import Window
from konnectivity.tunnel.memory_budget import KIB, MIB, MemoryBudget
from support.still_tunnel_side import StillTunnelSide


@pytest.mark.parametrize(
    ("rate", "round_trip_s", "alone", "wanted"),
    [
        (400 * MIB, 0.0002, False, 0.28 * MIB),  # loopback: the others wait well below a millisecond
        (400 * MIB, 0.0002, True, 1.5 * MIB),
        (100 * MIB, 0.05, False, 10 * MIB),  # a long path must be full all the same
        (100 * MIB, 0.05, True, 20 * MIB),
        (MIB, 0.05, False, 0.1 * MIB),  # a slow client far away
    ],
)
def test_a_window_follows_rate_and_round_trip(rate, round_trip_s, alone, wanted):
    assert flow_control.wanted(rate // 100, 0.01, round_trip_s, alone) == pytest.approx(wanted, rel=0.05)


def tunnel_side(round_trip_s: float = 0.0002, **budgets: int) -> StillTunnelSide:
    return StillTunnelSide(MemoryBudget(**budgets), round_trip_s)


def window_of(connection: Connection) -> Window:
    assert connection.inbound.window is not None
    return connection.inbound.window


def receive(tunnel: StillTunnelSide, connection: Connection, size: int, seconds: float) -> None:
    """Let the connection receive `size` bytes in `seconds` seconds, in portions of half a window."""
    rate = size / seconds
    while size > 0:
        portion = min(max(window_of(connection).size // 2, 1), size)
        tunnel.now += portion / rate
        connection.inbound.receive(memoryview(bytes(portion)))
        size -= portion


def test_a_fast_connection_gets_a_large_window_and_a_quiet_one_keeps_its_first():
    tunnel = tunnel_side(round_trip_s=0.05)
    fast, quiet = tunnel.open(), tunnel.open()
    receive(tunnel, fast, 100 * MIB, 1.0)
    assert window_of(fast).size == pytest.approx(20 * MIB, rel=0.2)
    assert window_of(quiet).size == 64 * KIB
    assert tunnel.memory.budget.grown == window_of(fast).size - 64 * KIB


def test_a_window_is_smaller_beside_a_connection_that_receives_at_a_low_rate():
    alone, shared = tunnel_side(), tunnel_side()
    fast = alone.open()
    receive(alone, fast, 400 * MIB, 1.0)
    beside, typed = shared.open(), shared.open()
    for _ in range(10):
        receive(shared, typed, 64, 0.001)
        receive(shared, beside, 40 * MIB, 0.1)
    assert window_of(beside).size < window_of(fast).size / 3


def test_a_window_that_grew_is_given_back_when_its_connection_becomes_slow():
    tunnel = tunnel_side(round_trip_s=0.05)
    connection = tunnel.open()
    receive(tunnel, connection, 100 * MIB, 1.0)
    for _ in range(100):
        tunnel.now += flow_control.REST_S + 1
        receive(tunnel, connection, window_of(connection).step, 0.1)
    assert window_of(connection).size == 64 * KIB
    assert tunnel.memory.budget.grown == 0


def test_all_windows_of_a_tunnel_take_half_its_budget_and_closed_connections_give_theirs_back():
    tunnel = tunnel_side(round_trip_s=0.05, tunnel_budget=16 * MIB)
    connections = [tunnel.open() for _ in range(4)]
    for connection in connections:
        receive(tunnel, connection, 100 * MIB, 1.0)
    assert 7 * MIB < tunnel.memory.budget.grown <= 8 * MIB
    for connection in connections:
        connection.tunnel_lost("the end")
    assert tunnel.memory.budget.grown == 0


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4 * MIB), st.floats(0.0001, 30)), max_size=40),
    budget=st.integers(8 * MIB, 64 * MIB),
)
def test_credit_is_exact_and_windows_keep_within_their_bounds_whatever_is_received(steps, budget):
    tunnel = tunnel_side(round_trip_s=0.02, tunnel_budget=budget)
    connections = [tunnel.open() for _ in range(4)]
    memory = tunnel.memory.budget
    returned = 0
    for number, size, seconds in steps:
        receive(tunnel, connections[number], size, seconds)
        windows = [window_of(connection) for connection in connections]
        assert memory.grown == sum(window.size - memory.initial_window for window in windows) <= budget // 2
        for connection, window in zip(connections, windows, strict=True):
            assert memory.initial_window <= window.size <= memory.max_window
            # Nothing is granted twice and nothing is forgotten: bytes in flight and bytes not returned are a window.
            assert window.size - window.step < connection.inbound.granted <= window.size
        credit = sum(packet.size for packet in tunnel.packets[returned:])
        returned = len(tunnel.packets)
        assert credit >= 0

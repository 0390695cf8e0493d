"""Windows of a tunnel: the size of one, and the sum of all windows of a tunnel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tunnel import flow_control
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.flow_control import Window
from konnectivity.tunnel.interfaces import Buffer
from konnectivity.tunnel.memory_budget import KIB, MIB, MemoryBudget
from support.still_tunnel_side import StillLocalSide, StillTunnelSide


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
        assert memory.grown == sum(window.size + window.owed - memory.initial_window for window in windows)
        assert memory.grown <= budget // 2
        for connection, window in zip(connections, windows, strict=True):
            assert memory.initial_window <= window.size <= memory.max_window
            # Nothing is granted twice and nothing is forgotten: bytes in flight and bytes not returned are a window.
            assert window.size - window.step < connection.inbound.granted <= window.size
        credit = sum(packet.size for packet in tunnel.packets[returned:])
        returned = len(tunnel.packets)
        assert credit >= 0


def test_uploads_that_begin_together_on_a_slow_machine_are_not_taken_for_terminals():
    """A window takes 2.2 round trips, since the programs wait for a core, so that the first windows look slow."""
    tunnel = tunnel_side(round_trip_s=0.1)
    connections = [tunnel.open() for _ in range(8)]
    for _ in range(8):
        for connection in connections:
            receive(tunnel, connection, window_of(connection).size, 0.22 / 8)
    assert min(window_of(connection).size for connection in connections) > MIB


# ---- targets that stall: credit that is granted, and bytes that wait ------------------------------------------------


ZEROS = memoryview(bytes(64 * KIB))


class Target(StillLocalSide):
    """Local side that discards the data that it accepts."""

    def write(self, data: Buffer) -> bool:
        self.kept += len(data) * self.blocked
        return not self.blocked


def served(tunnel: StillTunnelSide) -> tuple[Connection, Target]:
    """Return a new connection with a local side."""
    connection, local_side = tunnel.open(), Target()
    connection.attach(local_side)
    return connection, local_side


def fill(connection: Connection, size: int) -> None:
    """Let the connection receive up to `size` bytes, but no more than its credit."""
    while size > 0 and connection.inbound.granted > 0 and not connection.closed:
        portion = min(size, 64 * KIB, connection.inbound.granted)
        connection.inbound.receive(ZEROS[:portion])
        size -= portion


def drain(connection: Connection, local_side: Target) -> None:
    """Let the local side accept data again."""
    local_side.blocked, local_side.kept = False, 0
    connection.inbound.local_drained()


def test_one_upload_over_100_ms_gets_a_window_of_rate_times_round_trip_on_a_machine_without_a_limit():
    tunnel = tunnel_side(round_trip_s=0.1)
    connection = tunnel.open()
    began = tunnel.now
    while window_of(connection).size < 30 * MIB:
        # The peer is as fast as its window: all of it in each round trip.
        receive(tunnel, connection, window_of(connection).size, 0.1)
        assert tunnel.now - began < 2
    assert window_of(connection).size == 32 * MIB


def test_a_window_that_waits_for_a_stalled_target_is_given_to_another_connection():
    tunnel = tunnel_side(round_trip_s=0.1, process_budget=8 * MIB, tunnel_budget=8 * MIB)
    (stalled, target), (bulk, _) = served(tunnel), served(tunnel)
    receive(tunnel, stalled, 100 * MIB, 1.0)
    size = window_of(stalled).size
    assert size == 4 * MIB + 64 * KIB, "half of the budget, beside the first window"
    receive(tunnel, bulk, 10 * MIB, 1.0)
    assert window_of(bulk).size == 64 * KIB, "the target has not stalled yet"
    target.blocked = True
    fill(stalled, 100 * MIB)
    assert tunnel.memory.used > 3 * MIB
    receive(tunnel, bulk, 10 * MIB, 1.0)
    assert window_of(stalled).size == 64 * KIB
    assert window_of(bulk).size > MIB
    assert tunnel.memory.used + window_of(bulk).size < 8 * MIB


def test_a_connection_that_recovers_gets_no_credit_until_its_taken_window_has_left_and_then_grows_again():
    tunnel = tunnel_side(round_trip_s=0.1, process_budget=8 * MIB, tunnel_budget=8 * MIB)
    (stalled, target), (bulk, _) = served(tunnel), served(tunnel)
    receive(tunnel, stalled, 100 * MIB, 1.0)
    target.blocked = True
    fill(stalled, 100 * MIB)
    receive(tunnel, bulk, 10 * MIB, 1.0)
    assert window_of(stalled).owed > 3 * MIB
    drain(stalled, target)
    assert window_of(stalled).owed == 0
    assert 0 < stalled.inbound.granted <= 64 * KIB
    bulk.tunnel_lost("the end")
    receive(tunnel, stalled, 100 * MIB, 1.0)
    assert window_of(stalled).size == 4 * MIB + 64 * KIB
    stalled.tunnel_lost("the end")
    assert tunnel.memory.budget.grown == 0


def test_windows_shrink_when_connections_are_opened_that_may_stall_too():
    tunnel = tunnel_side(round_trip_s=0.1, tunnel_budget=8 * MIB)
    bulk, _ = served(tunnel)
    receive(tunnel, bulk, 100 * MIB, 1.0)
    assert window_of(bulk).size > 4 * MIB
    for _ in range(103):
        served(tunnel)
    receive(tunnel, bulk, 100 * MIB, 1.0)
    assert window_of(bulk).size == 8 * MIB - 103 * 64 * KIB


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["receive", "stall", "fill", "drain"]), st.floats(0.001, 2)),
        max_size=60,
    ),
    budget=st.integers(8 * MIB, 32 * MIB),
)
def test_a_tunnel_never_holds_more_than_its_budget_whichever_targets_stall_and_whenever(steps, budget):
    tunnel = tunnel_side(round_trip_s=0.05, process_budget=budget, tunnel_budget=budget, growth_budget=budget)
    served_ones = [served(tunnel) for _ in range(8)]
    for number, action, seconds in steps:
        connection, local_side = served_ones[number]
        if action == "receive" and not local_side.blocked:
            receive(tunnel, connection, int(20 * MIB * seconds), seconds)
        elif action == "stall":
            local_side.blocked = True
            tunnel.now += seconds
        elif action == "fill" and local_side.blocked:
            fill(connection, budget)
        elif action == "drain":
            drain(connection, local_side)
        for each, _ in served_ones:
            # A peer may send all of its credit, and all of these bytes may have to wait.
            window = window_of(each)
            assert each.inbound.granted + each.inbound.backlog <= window.size + window.owed
        assert sum(window_of(each).size + window_of(each).owed for each, _ in served_ones) <= budget
    for connection, local_side in served_ones:
        local_side.blocked = True
        fill(connection, budget)
    assert tunnel.memory.used <= budget
    assert tunnel.memory.budget.reset == 0
    for connection, local_side in served_ones:
        drain(connection, local_side)
        before = connection.inbound.received
        receive(tunnel, connection, 256 * KIB, 0.1)
        assert connection.inbound.received == before + 256 * KIB, "every connection recovers"


def test_5000_connections_that_stall_at_once_keep_within_the_budget_and_another_one_is_served():
    tunnel = tunnel_side(round_trip_s=0.1, process_budget=8 * MIB, tunnel_budget=8 * MIB)
    stalled = [served(tunnel) for _ in range(5000)]
    living, _ = served(tunnel)
    most = 0
    for connection, local_side in stalled:
        local_side.blocked = True
        fill(connection, MIB)
        most = max(most, tunnel.memory.used)
    assert most <= 8 * MIB + 8 * MIB // 16 + 64 * KIB
    kept = [connection for connection, _ in stalled if not connection.closed]
    assert len(kept) >= 8 * MIB // (64 * KIB)
    assert tunnel.memory.budget.reset == 5000 - len(kept)
    receive(tunnel, living, MIB, 1.0)
    assert not living.closed


def test_the_connection_with_the_most_waiting_bytes_is_reset_first_with_the_figures_in_its_reason():
    tunnel = tunnel_side(process_budget=64 * KIB, tunnel_budget=64 * KIB)
    largest, *others, last = [served(tunnel) for _ in range(6)]
    for _, local_side in (largest, *others, last):
        local_side.blocked = True
    fill(largest[0], 64 * KIB)
    for connection, _ in others:
        fill(connection, 60 * KIB)
    assert not largest[0].closed
    fill(last[0], 20 * KIB)
    assert [each.closed for each, _ in (largest, *others, last)] == [True, False, False, False, False, False]
    assert largest[0].cause == "budget"
    assert "65536 bytes wait" in largest[0].reason
    assert "--process-buffer-budget is 65536" in largest[0].reason
    assert tunnel.memory.used == tunnel.memory.budget.backlog == 260 * KIB

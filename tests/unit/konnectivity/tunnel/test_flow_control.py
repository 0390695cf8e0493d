"""How large windows should be: a few lines as they are, and what the windows of one tunnel do together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tunnel import flow_control, sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.interfaces import Buffer
from konnectivity.tunnel.memory_budget import KIB, MIB, MemoryBudget
from konnectivity.tunnel.states import EXTENDED


@pytest.mark.parametrize(
    ("rate", "round_trip_s", "alone", "wanted"),
    [
        (400 * MIB, 0.0002, False, 0.28 * MIB),  # loopback: the others wait well below a millisecond
        (400 * MIB, 0.0002, True, 1.5 * MIB),
        (100 * MIB, 0.05, False, 10 * MIB),  # a long line must be full all the same
        (100 * MIB, 0.05, True, 20 * MIB),
        (MIB, 0.05, False, 0.1 * MIB),  # a slow client far away
    ],
)
def test_a_window_follows_rate_and_round_trip(rate, round_trip_s, alone, wanted):
    assert flow_control.wanted(rate // 100, 0.01, round_trip_s, alone) == pytest.approx(wanted, rel=0.05)


class Line:
    """A tunnel's part in it: the ledger, its connections, the time, and what was granted."""

    congested = False

    def __init__(self, round_trip_s: float = 0.0002, **budgets: int) -> None:
        self.now = 100.0
        self.ledger = MemoryBudget(**budgets)
        self.connections: dict[int, Connection] = {}
        self.round_trip_s = round_trip_s
        self.windows = FlowControl(self.ledger, self.connections, lambda: self.now)

    def open(self) -> Connection:
        number = len(self.connections)
        link = Connection(number, self, EXTENDED, False, 64 * KIB, sides.CLIENT, sides.CLIENT)
        self.connections[number] = link
        self.windows.opened(link)
        return link

    def receive(self, link: Connection, size: int, seconds: float) -> None:
        """The link receives so much in this time, in portions of half a window."""
        rate = size / seconds
        while size > 0:
            portion = min(max(link.window // 2, 1), size)
            self.now += portion / rate
            link.peer_data(memoryview(bytes(portion)))
            size -= portion

    def send_control(self, packet: bytes) -> None: ...
    def send_data(self, connect_id: int, data: Buffer) -> None: ...
    def book(self, size: int) -> None: ...
    def activate(self, link: Connection) -> None: ...
    def hold(self, link: Connection) -> None: ...
    def unhold(self, link: Connection) -> None: ...
    def stall(self, link: Connection, begins: bool) -> None: ...
    def starve(self, link: Connection, begins: bool) -> None: ...
    def expire(self, link: Connection, timeout_s: float) -> None: ...
    def connection_closed(self, link: Connection) -> None: ...


def test_a_fast_connection_gets_a_large_window_and_a_quiet_one_keeps_its_first():
    line = Line(round_trip_s=0.05)
    fast, quiet = line.open(), line.open()
    line.receive(fast, 100 * MIB, 1.0)
    assert fast.window == pytest.approx(20 * MIB, rel=0.2)
    assert quiet.window == line.ledger.initial_window
    assert line.ledger.grown == fast.window - line.ledger.initial_window


def test_beside_one_that_receives_little_it_is_smaller():
    alone, shared = Line(), Line()
    fast = alone.open()
    alone.receive(fast, 400 * MIB, 1.0)
    beside, typed = shared.open(), shared.open()
    for _ in range(10):
        shared.receive(typed, 64, 0.001)
        shared.receive(beside, 40 * MIB, 0.1)
    assert beside.window < fast.window / 3


def test_a_window_that_grew_is_given_back_when_its_connection_becomes_slow():
    line = Line(round_trip_s=0.05)
    link = line.open()
    line.receive(link, 100 * MIB, 1.0)
    for _ in range(100):
        line.now += flow_control.REST_S + 1
        line.receive(link, link.step, 0.1)
    assert link.window == line.ledger.initial_window
    assert line.ledger.grown == 0


def test_all_windows_of_a_tunnel_take_half_its_budget_and_the_dead_give_theirs_back():
    line = Line(round_trip_s=0.05, tunnel_budget=16 * MIB)
    links = [line.open() for _ in range(4)]
    for link in links:
        line.receive(link, 100 * MIB, 1.0)
    assert 7 * MIB < line.ledger.grown <= 8 * MIB
    for link in links:
        link.tunnel_lost("the end")
    assert line.ledger.grown == 0


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4 * MIB), st.floats(0.0001, 30)), max_size=40),
    budget=st.integers(8 * MIB, 64 * MIB),
)
def test_whatever_is_received_credit_is_exact_and_windows_keep_within_their_bounds(steps, budget):
    line = Line(round_trip_s=0.02, tunnel_budget=budget)
    links = [line.open() for _ in range(4)]
    for number, size, seconds in steps:
        line.receive(links[number], size, seconds)
        ledger = line.ledger
        assert ledger.grown == sum(link.window - ledger.initial_window for link in links) <= budget // 2
        for link in links:
            assert ledger.initial_window <= link.window <= ledger.max_window
            assert link.granted + link.unreturned == link.window  # nothing granted twice, nothing forgotten

"""Every order of events on the pure core keeps the promises, and every row of the state tables is taken."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from simulation import coverage, table_walk
from simulation.exhaustive import Found, explore
from simulation.stream_walk import STATES, explore_streams
from simulation.tunnel_system import Scope

MOST_STREAM_STATES = 2_000
pytestmark = pytest.mark.timeout(300)


def _print(what: str, found: Found, began: float) -> None:
    print(f"{what}: {found.states:,} states, {found.transitions:,} transitions, {time.process_time() - began:.1f} s")


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        ("two connections that end, the stream may break", Scope(connections=2, data=0)),
        ("one connection, three packets each way, the stream may break", Scope(connections=1, data=2)),
        ("one connection, local sides that stall and break", Scope(connections=1, data=1, stalls=True, losses=True)),
        ("one connection of the reference protocol", Scope(connections=1, data=1, stalls=True, extension=False)),
    ],
)
def test_every_order_of_packets_keeps_every_byte(what: str, scope: Scope) -> None:
    began = time.process_time()
    found = explore(scope)
    _print(what, found, began)
    assert found.broken == []


def test_every_row_of_the_tables_is_taken_and_keeps_the_promises() -> None:
    with coverage.rows_taken() as taken:
        for dialect in table_walk.DIALECTS:
            began = time.process_time()
            found = table_walk.walk(dialect)
            _print(dialect, found, began)
            assert found.broken == []
    rows = coverage.rows()
    print(f"{len(rows & set(taken))} of {len(rows)} rows taken")
    assert rows - set(taken) == set()


def test_two_thousand_states_of_two_http2_streams_keep_every_byte() -> None:
    began = time.process_time()
    taken: Counter[tuple[str, str]] = Counter()
    found = explore_streams(taken, MOST_STREAM_STATES)
    _print("two HTTP/2 streams", found, began)
    assert found.broken == []
    states = {state for state, _ in taken}
    print(", ".join(f"{state}: {what} {count}" for (state, what), count in sorted(taken.items())))
    assert states == set(STATES)

"""Every order of events on the pure core keeps the promises, and every row of the state tables is taken."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from simulation import coverage, table_walk
from simulation.exhaustive import Found, explore
from simulation.stream_walk import STATES, explore_streams
from simulation.tunnel_system import Scope

MOST_STREAM_STATES = 2_000
pytestmark = pytest.mark.timeout(300)


Record = Callable[[str, object], None]


def _figure(what: str, found: Found, began: float) -> str:
    took_s = time.process_time() - began
    return f"{what}: {found.states:,} states, {found.transitions:,} transitions, {took_s:.1f} s"


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        ("two connections that end, the stream may break", Scope(connections=2, data=0)),
        ("one connection, three packets each way, the stream may break", Scope(connections=1, data=2)),
        ("one connection, local sides that stall and break", Scope(connections=1, data=1, stalls=True, losses=True)),
        ("one connection of the reference protocol", Scope(connections=1, data=1, stalls=True, extension=False)),
    ],
)
def test_every_order_of_packets_keeps_every_byte(what: str, scope: Scope, record_property: Record) -> None:
    began = time.process_time()
    found = explore(scope)
    record_property("figure", _figure(what, found, began))
    assert found.broken == []


def test_every_row_of_the_tables_is_taken_and_keeps_the_promises(record_property: Record) -> None:
    with coverage.rows_taken() as taken:
        for dialect in table_walk.DIALECTS:
            began = time.process_time()
            found = table_walk.walk(dialect)
            record_property("figure", _figure(f"one connection, {dialect}", found, began))
            assert found.broken == []
    rows = coverage.rows()
    record_property("figure", f"{len(rows & set(taken))} of {len(rows)} rows of the state tables taken")
    assert rows - set(taken) == set()


def test_two_thousand_states_of_two_http2_streams_keep_every_byte(record_property: Record) -> None:
    began = time.process_time()
    taken: Counter[tuple[str, str]] = Counter()
    found = explore_streams(taken, MOST_STREAM_STATES)
    record_property("figure", _figure("two HTTP/2 streams", found, began))
    assert found.broken == []
    states = {state for state, _ in taken}
    record_property("figure", f"{len(states)} of {len(STATES)} states of a stream, with {len(taken)} kinds of steps")
    assert states == set(STATES)

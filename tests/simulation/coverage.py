"""Coverage of the state tables: which rows a run has taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from konnectivity.tunnel import states
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.states import Input, State

TABLES: Mapping[str, states.Table] = {
    "extension": states.EXTENDED,
    "reference, serving": states.REFERENCE_SERVING,
    "reference, dialing": states.REFERENCE_DIALING,
}
Row = tuple[str, str, str]  # table, state, input


def rows() -> set[Row]:
    """Return every row of every table, but those that no sequence of inputs reaches."""
    found = {(name, state.value, event.value) for name, table in TABLES.items() for state, event in table}
    return {row for row in found if not _unreachable(*row)}


def _unreachable(table: str, state: str, event: str) -> bool:
    """Return whether the dialect never is in that state: `_ALWAYS` has its rows for all of them."""
    never = {
        "extension": {State.CLOSING.value},
        "reference, serving": {State.SENT_END.value, State.RCVD_END.value, State.CLOSING.value},
        "reference, dialing": {State.RCVD_END.value},
    }
    # Their output has ended, so a local side that breaks counts as one that is gone (`Connection.local_lost`).
    ended = {State.SENT_END.value, State.CLOSING.value} if table == "reference, dialing" else set()
    return state in never[table] or (event == Input.LOCAL_LOST.value and state in ended)


@contextmanager
def rows_taken() -> Iterator[Counter[Row]]:
    """Count the rows that connections take."""
    taken: Counter[Row] = Counter()
    names = {id(table): name for name, table in TABLES.items()}
    original = Connection._step

    def step(self: Connection, event: Input) -> None:
        if self.state is not State.CLOSED and (self.state, event) in self._table:
            taken[names[id(self._table)], self.state.value, event.value] += 1
        original(self, event)

    Connection._step = step  # type: ignore[method-assign]
    try:
        yield taken
    finally:
        Connection._step = original  # type: ignore[method-assign]

"""Tests of the table of header fields, compared with the table of the hpack library."""

from __future__ import annotations

import hpack
from hpack.table import HeaderTable as LibraryTable
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.http2.header_table import STATIC, HeaderTable

additions = st.tuples(st.binary(max_size=10), st.binary(max_size=40))
steps = st.lists(additions | st.sampled_from([0, 40, 100, 4096]) | st.just((b"name", b"v" * 5000)), max_size=40)


def entries(table: HeaderTable) -> list[tuple[bytes, bytes]]:
    found = []
    while True:
        try:
            found.append(table.field(len(found) + 1))
        except IndexError:
            return found


def test_the_static_table_equals_the_librarys() -> None:
    assert STATIC == LibraryTable.STATIC_TABLE
    assert entries(HeaderTable()) == list(STATIC)


@given(steps)
def test_entries_are_added_and_evicted_as_by_the_library(taken: list[tuple[bytes, bytes] | int]) -> None:
    own, other = HeaderTable(), LibraryTable()
    for step in taken:
        before = own.copy()
        if isinstance(step, int):
            own.resize(step)
            other.maxsize = step
        else:
            own.add(*step)
            other.add(*step)
        assert entries(own)[len(STATIC) :] == list(other.dynamic_entries)
        before.add(b"other", b"")  # an addition to a copy must not change the table
        assert entries(own)[len(STATIC) :] == list(other.dynamic_entries)
    for index in (0, -1, len(entries(own)) + 1):
        try:
            other.get_by_index(index)
        except hpack.HPACKError:
            continue
        raise AssertionError(index)

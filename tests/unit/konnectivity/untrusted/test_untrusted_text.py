"""Untrusted text: the cut, the escapes, and the time that both take."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.untrusted.untrusted_text import CUT, cut, quoted, visible

DANGEROUS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]
DANGEROUS += [*"\u2028\u2029\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u180e\U000e0041"]
DANGEROUS += [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\ud800", "\udcff"]


@pytest.mark.parametrize("char", DANGEROUS, ids=lambda char: f"U+{ord(char):04X}")
def test_what_a_terminal_acts_on_is_written_out(char: str) -> None:
    for shown in (visible(f"a{char}b"), quoted(f"a{char}b")):
        assert char not in shown
        assert shown.isprintable()
        assert "\\" in shown


@given(st.text(), st.integers(0, 50))
def test_visible_text_is_printable_and_short(text: str, length: int) -> None:
    shown = visible(text, length)
    assert shown.isprintable()
    assert len(shown) <= length + len(CUT)
    assert quoted(text, length).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_read_stays(text: str) -> None:
    assert visible(text, 1_000) == text
    assert all(unicodedata.category(char) not in ("Cc", "Cf") for char in text)


@given(st.text(), st.integers(4, 50))
def test_a_cut_text_has_its_size_in_bytes(text: str, size: int) -> None:
    short = cut(text, size)
    assert len(short.encode()) <= size
    assert short == text.encode("utf-8", "backslashreplace").decode() or short.endswith(CUT)


@pytest.mark.parametrize("text", ["\x01", "\U000e0001", "\ud800", "\\", "ä"])
def test_the_time_does_not_grow_with_the_text(text: str) -> None:
    long = text * 4_000_000
    began = time.process_time()
    for _ in range(50):
        cut(long)
        visible(long)
        quoted(long)
    assert time.process_time() - began < 1

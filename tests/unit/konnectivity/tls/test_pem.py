"""Blocks of PEM files, in the shapes that files on disk have."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.tls.pem import blocks


def block(label: str, data: bytes, end: str = "\n", headers: str = "") -> bytes:
    lines = [f"-----BEGIN {label}-----", *([headers, ""] if headers else []), base64.encodebytes(data).decode().strip()]
    return end.join([*lines, f"-----END {label}-----", ""]).encode()


@given(st.lists(st.tuples(st.sampled_from(["CERTIFICATE", "EC PRIVATE KEY", "X"]), st.binary(min_size=1))))
def test_what_was_written_is_read(written):
    content = b"a comment\n".join([b"", *(block(label, data) for label, data in written), b""])
    assert [(each.label, each.data()) for each in blocks(content)] == written


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n"], ids=["unix", "windows", "trailing blanks"])
def test_line_ends(end):
    assert blocks(block("CERTIFICATE", b"abc", end))[0].data() == b"abc"


def test_a_file_without_its_last_line_end():
    assert blocks(block("CERTIFICATE", b"abc").rstrip())[0].data() == b"abc"


def test_headers_are_noticed():
    plain, with_headers = blocks(block("KEY", b"abc") + block("KEY", b"abc", headers="Proc-Type: 4,ENCRYPTED"))
    assert not plain.headers
    assert with_headers.headers


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing here\n", b"-----END CERTIFICATE-----\n", b"  -----BEGIN CERTIFICATE-----\n", b"\xff\x00\n"],
)
def test_no_block(content):
    assert blocks(content) == []


@pytest.mark.parametrize("cut", [30, 60, -5])
def test_a_block_that_is_cut_off(cut):
    content = b"\n" + block("CERTIFICATE", bytes(100))
    with pytest.raises(ValueError, match="line 2: the CERTIFICATE has no end"):
        blocks(content[:cut])


def test_a_block_inside_a_block():
    content = b"-----BEGIN CERTIFICATE-----\nAAAA\n" + block("CERTIFICATE", b"abc")
    with pytest.raises(ValueError, match="line 1: the CERTIFICATE has no end"):
        blocks(content)


@pytest.mark.parametrize("body", [b"A", b"AA=A", b"A*AA", b"Proc-Type: 4\n\nAAAA"])
def test_no_base64(body):
    found = blocks(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="line 1: the CERTIFICATE is malformed"):
        found[0].data()

"""Layout of the frames we build. Their effects are tested with the connection."""

from __future__ import annotations

import pytest

from konnectivity.http2 import ErrorCode, frames


@pytest.mark.parametrize(
    ("built", "layout"),
    [
        (frames.frame(0x7F, 0x81, 2**31 - 1, b"ab"), b"\x00\x00\x02\x7f\x81\x7f\xff\xff\xffab"),
        (frames.frame(0x0, 0x1, 3, bytes(70_000))[:9], b"\x01\x11\x70\x00\x01\x00\x00\x00\x03"),
        (frames.settings({}), b"\0\0\0\x04\0\0\0\0\0"),
        (frames.settings({0x4: 70_000}), b"\0\0\x06\x04\0\0\0\0\0" + b"\x00\x04\x00\x01\x11\x70"),
        (frames.rst_stream(5, ErrorCode.CANCEL), b"\0\0\x04\x03\0\0\0\0\x05" + b"\0\0\0\x08"),
        (frames.window_update(0, 2**31 - 1), b"\0\0\x04\x08\0\0\0\0\0" + b"\x7f\xff\xff\xff"),
        (frames.goaway(7, 0xB, b"calm"), b"\0\0\x0c\x07\0\0\0\0\0" + b"\0\0\0\x07\0\0\0\x0bcalm"),
    ],
)
def test_layout(built: bytes, layout: bytes) -> None:
    assert built == layout


@pytest.mark.parametrize(
    ("size", "end_stream", "expected"),
    [
        (0, False, [(0x1, 0x4, 0)]),
        (10, True, [(0x1, 0x5, 10)]),
        (11, False, [(0x1, 0x0, 10), (0x9, 0x4, 1)]),
        (30, True, [(0x1, 0x1, 10), (0x9, 0x0, 10), (0x9, 0x4, 10)]),
    ],
)
def test_header_blocks(size: int, end_stream: bool, expected: list[tuple[int, int, int]]) -> None:
    built = frames.header_block(9, bytes(range(size)), end_stream, 10)
    assert [(frame[3], frame[4], len(frame) - 9) for frame in built] == expected
    assert b"".join(frame[9:] for frame in built) == bytes(range(size))


def test_names_of_errors() -> None:
    assert frames.error_name(0xB) == "ENHANCE_YOUR_CALM"
    assert frames.error_name(0x1234) == "error code 0x1234"

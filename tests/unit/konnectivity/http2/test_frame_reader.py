"""Frame reader: bytes in any cut become the same frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.http2 import ErrorCode, frames
from konnectivity.http2.frame_reader import FrameReader
from konnectivity.http2.frames import ConnectionFault


class Sink:
    """Receiver that records frames, with the DATA of a frame put together again."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.data: list[tuple[int, int, int]] = []
        self.pieces: list[bytes] = []

    def frame_received(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        assert not self.data
        self.frames.append((kind, flags, stream_id, payload))

    def data_announced(self, stream_id: int, flags: int, length: int) -> None:
        assert not self.data
        self.data.append((stream_id, flags, length))

    def data_received(self, data: memoryview, last: bool) -> None:
        self.pieces.append(bytes(data))
        if last:
            ((stream_id, flags, length),) = self.data
            payload = b"".join(self.pieces)
            assert len(payload) == length
            self.frames.append((frames.DATA, flags, stream_id, payload))
            self.data.clear()
            self.pieces.clear()


anything = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=40))


@given(st.lists(anything, max_size=20), st.lists(st.integers(1, 30)))
def test_any_cut(said: list[tuple[int, int, int, bytes]], sizes: list[int]) -> None:
    line = b"".join(frames.frame(*frame) for frame in said)
    sink = Sink()
    reader = FrameReader(sink, 40)
    for size in sizes:
        reader.feed(line[:size])
        line = line[size:]
    reader.feed(line)
    assert sink.frames == said


def test_data_does_not_wait_for_the_rest_of_its_frame() -> None:
    sink = Sink()
    reader = FrameReader(sink, 100)
    line = frames.frame(frames.DATA, frames.END_STREAM, 1, b"abcdef")
    reader.feed(line[:9])
    assert (sink.data, sink.pieces) == ([(1, frames.END_STREAM, 6)], [])
    reader.feed(line[9:11])
    assert sink.pieces == [b"ab"]
    reader.feed(line[11:])
    assert sink.frames == [(frames.DATA, frames.END_STREAM, 1, b"abcdef")]


def test_the_reserved_bit_means_nothing() -> None:
    sink = Sink()
    FrameReader(sink, 100).feed(b"\0\0\1\7\0\x80\0\0\5x" + b"\0\0\1\0\0\x80\0\0\5x")
    assert sink.frames == [(7, 0, 5, b"x"), (0, 0, 5, b"x")]


@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS, 0x77])
def test_a_frame_over_the_limit_is_refused_before_it_is_here(kind: int) -> None:
    reader = FrameReader(Sink(), 100)
    reader.feed(frames.frame(kind, 0, 1, bytes(100)))
    with pytest.raises(ConnectionFault, match="frame of 101 bytes") as refused:
        reader.feed(frames.frame(kind, 0, 1, bytes(101))[:9])
    assert refused.value.code == ErrorCode.FRAME_SIZE_ERROR

"""Reader that cuts a byte stream into frames (RFC 9113 section 4.1). Knows lengths, not meanings.

DATA payloads are handed on in pieces as they arrive, as views without a copy; every other frame is handed on whole.
A pass ends early when its frames cost much work: the rest waits for the next call.
"""

from __future__ import annotations

from typing import Final, Protocol

from konnectivity.http2.frames import DATA, HEADER, HEADER_SIZE, PADDED, ConnectionFault, ErrorCode

MOST_FRAMES: Final = 1024  # frames cut in one pass
MOST_WORK: Final = 1024  # work of the sink in a pass, about 2 ms: 1 per frame that is not DATA, and per header field


class FrameSink(Protocol):
    """Receiver of frames. `work` grows by the work that a frame has caused."""

    work: int

    def frame_received(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a whole frame that is not DATA without padding."""

    def data_announced(self, stream_id: int, flags: int, length: int) -> None:
        """Take the header of a DATA frame without padding."""

    def data_received(self, data: memoryview, last: bool) -> None:
        """Take a piece of the announced DATA payload; `last` is set with the final (perhaps empty) piece."""


class FrameReader:
    """Reader of one connection. Keeps an incomplete frame that is not DATA, and the rest of a pass that ended early."""

    __slots__ = ("_data_left", "_max_frame_size", "_need", "_rest", "_sink")

    def __init__(self, sink: FrameSink, max_frame_size: int) -> None:
        self._sink = sink
        self._max_frame_size = max_frame_size
        self._rest = bytearray()
        self._need = 0  # bytes that `_rest` must have before it is looked at again
        self._data_left = 0  # bytes of the current DATA payload that are still to come

    def feed(self, data: bytes) -> bool:
        """Cut `data`, together with the bytes kept before, and return whether the pass ended early.

        Raises:
            ConnectionFault: a frame is larger than announced (FRAME_SIZE_ERROR), or what the sink raises.

        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return False
            data = bytes(self._rest)
            self._rest.clear()
        sink = self._sink
        sink.work = 0
        early = False
        view = memoryview(data)
        position, end = 0, len(data)
        for _ in range(MOST_FRAMES):
            if position >= end:
                break
            if self._data_left:
                stop = min(position + self._data_left, end)
                self._data_left -= stop - position
                sink.data_received(view[position:stop], not self._data_left)
                position = stop
                continue
            if end - position < HEADER_SIZE:
                self._need = HEADER_SIZE
                break
            high, low, kind, flags, stream_id = HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > self._max_frame_size:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            stream_id &= 0x7FFFFFFF
            if kind == DATA and not flags & PADDED:
                position += HEADER_SIZE
                stop = position + length
                sink.data_announced(stream_id, flags, length)
                if stop <= end:
                    sink.data_received(view[position:stop], True)
                    position = stop
                else:
                    self._data_left = length
                continue
            stop = position + HEADER_SIZE + length
            if stop > end:
                self._need = HEADER_SIZE + length
                break
            sink.frame_received(kind, flags, stream_id, bytes(view[position + HEADER_SIZE : stop]))
            position = stop
            if sink.work >= MOST_WORK:
                early = position < end
                break
        else:
            early = position < end
        if position < end:
            self._rest += view[position:]
            if early:
                self._need = 0
        return early

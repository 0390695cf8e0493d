"""Header blocks of one peer: collected from fragments and decoded (RFC 9113 section 4.3). Owns the decoder."""

from __future__ import annotations

from konnectivity.http2.abuse_limits import Limits, PeerCosts
from konnectivity.http2.events import HeaderList
from konnectivity.http2.frames import ConnectionFault, ErrorCode
from konnectivity.http2.header_decoder import HeaderBlockError, HeaderDecoder, OversizedFieldsError, TooManyFieldsError


class HeaderBlocks:
    """Collector of one block at a time: HEADERS, then CONTINUATION frames of the same stream."""

    __slots__ = ("_costs", "_decoder", "_end_stream", "_fragments", "_limits", "_size", "_stream_id")

    def __init__(self, limits: Limits, costs: PeerCosts) -> None:
        self._limits = limits
        self._costs = costs
        self._decoder = HeaderDecoder(limits.header_list_bytes, limits.header_fields)
        self._stream_id: int | None = None  # stream whose header block is incomplete
        self._end_stream = False
        self._fragments: list[bytes] = []
        self._size = 0

    def begin(self, stream_id: int, end_stream: bool, fragment: bytes) -> None:
        """Begin a block with the fragment of a HEADERS frame."""
        self._stream_id = stream_id
        self._end_stream = end_stream
        self._add(fragment)

    def extend(self, stream_id: int, fragment: bytes) -> None:
        """Add the fragment of a CONTINUATION frame.

        Raises:
            ConnectionFault: the frame does not continue the open block, or the block is too large.

        """
        if stream_id != self._stream_id:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, f"CONTINUATION without a header block of stream {stream_id}"
            )
        self._add(fragment)

    @property
    def work(self) -> int:
        """Work of decoding so far, in fields."""
        return self._decoder.work

    def finish(self) -> tuple[HeaderList, bool]:
        """Close the block; return its headers, and whether it ends the stream.

        Bytes that are not UTF-8 become surrogates, which `header_rules` refuses: that is a fault of the stream only.

        Raises:
            ConnectionFault: the block cannot be decompressed, or is too large. The state of the decoder is lost.

        """
        block = b"".join(self._fragments)
        self._stream_id = None
        self._fragments.clear()
        self._size = 0
        try:
            return self._decoder.texts(block), self._end_stream
        except TooManyFieldsError as many:
            raise self._costs.fault("header_fields", "too many header fields") from many
        except OversizedFieldsError as oversized:
            raise self._costs.fault("header_list", "header list too large") from oversized
        except HeaderBlockError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "header block cannot be decoded") from error

    def _add(self, fragment: bytes) -> None:
        self._fragments.append(fragment)
        self._size += len(fragment)
        if len(self._fragments) > self._limits.continuation_frames or self._size > self._limits.header_block_bytes:
            raise self._costs.fault("header_block", "header block too large")

"""Rules for the payload of each type of frame (RFC 9113 section 6). Pure: payload in, its meaning out.

Every function raises `ConnectionFault` for a payload that breaks the connection, and `StreamFault` for one that breaks
its stream only.
"""

from __future__ import annotations

from konnectivity.http2.events import GoAwayReceived
from konnectivity.http2.frames import ACK, PADDED, PRIORITY_FLAG, UINT32, ConnectionFault, ErrorCode, StreamFault

MAX_DEBUG = 256  # bytes of a GOAWAY's debug data that are read
_PRIORITY_SIZE = 5
_WITHOUT_RESERVED_BIT = 0x7FFFFFFF


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the payload of DATA or HEADERS without its padding (sections 6.1 and 6.2)."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame")
    return payload[1 : len(payload) - payload[0]]


def header_fragment(flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return the fragment of a header block in a HEADERS frame (section 6.2)."""
    fragment = unpadded(flags, payload)
    if not flags & PRIORITY_FLAG:
        return fragment
    if len(fragment) < _PRIORITY_SIZE:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
    if _depends_on(fragment) == stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")
    return fragment[_PRIORITY_SIZE:]


def check_priority(stream_id: int, payload: bytes) -> None:
    """Check a PRIORITY frame, which has no effect but must be well-formed (section 6.3)."""
    if stream_id == 0:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
    if len(payload) != _PRIORITY_SIZE:
        raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes")
    if _depends_on(payload) == stream_id:
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")


def reset_code(payload: bytes) -> int:
    """Return the error code of RST_STREAM (section 6.4)."""
    _check_size("RST_STREAM", payload, 4)
    return _uint32(payload, 0)


def check_settings(flags: int, stream_id: int, payload: bytes) -> None:
    """Check the size of a SETTINGS frame (section 6.5)."""
    _check_on_connection("SETTINGS", stream_id)
    if flags & ACK and payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ack with a payload")
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS is not a multiple of 6 bytes")


def check_ping(stream_id: int, payload: bytes) -> None:
    """Check the size of a PING frame (section 6.7)."""
    _check_on_connection("PING", stream_id)
    _check_size("PING", payload, 8)


def goaway(stream_id: int, payload: bytes) -> GoAwayReceived:
    """Return the event of a GOAWAY frame (section 6.8)."""
    _check_on_connection("GOAWAY", stream_id)
    if len(payload) < 8:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is shorter than 8 bytes")
    return GoAwayReceived(_uint32(payload, 0) & _WITHOUT_RESERVED_BIT, _uint32(payload, 4), _debug_text(payload[8:]))


def _debug_text(debug: bytes) -> str:
    if len(debug) <= MAX_DEBUG:
        return debug.decode("utf-8", "replace")
    return debug[: MAX_DEBUG - 3].decode("utf-8", "ignore") + "..."


def window_increment(payload: bytes) -> int:
    """Return the increment of WINDOW_UPDATE, which may be 0 (section 6.9)."""
    _check_size("WINDOW_UPDATE", payload, 4)
    return _uint32(payload, 0) & _WITHOUT_RESERVED_BIT


def _uint32(payload: bytes, at: int) -> int:
    return int(UINT32.unpack_from(payload, at)[0])


def _depends_on(priority: bytes) -> int:
    return _uint32(priority, 0) & _WITHOUT_RESERVED_BIT


def _check_on_connection(kind: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{kind} on stream {stream_id}")


def _check_size(kind: str, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{kind} is not {size} bytes")

"""HTTP/2 written by hand, as an attacker does: frames, and header blocks of HPACK literals and references."""

from __future__ import annotations

from konnectivity.http2 import frames

CONNECT = b"/AgentService/Connect"
PROXY = b"/ProxyService/Proxy"
EMOJI = "\U0001f600".encode()
STATIC_ENTRIES = 61  # RFC 7541 appendix A: the dynamic table begins behind them, the newest entry first


def literal(name: bytes, value: bytes, indexed: bool = False) -> bytes:
    """Return one field as a literal without Huffman; `indexed` puts it into the peer's dynamic table."""
    return (b"\x40" if indexed else b"\x00") + _string(name) + _string(value)


def reference(index: int) -> bytes:
    """Return a reference to entry `index` of the tables, counted from 1."""
    return _integer(index, 7, 0x80)


def newest(position: int) -> bytes:
    """Return a reference to an entry of the dynamic table; position 0 is the one added last."""
    return reference(STATIC_ENTRIES + 1 + position)


def call(path: bytes, *more: tuple[bytes, bytes], indexed: bool = False) -> bytes:
    """Return the header block of a gRPC call, with further fields."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]
    return b"".join(literal(name, value, indexed) for name, value in fields)


def headers(stream_id: int, block: bytes, end_stream: bool = False) -> bytes:
    """Return HEADERS, with CONTINUATION where the block is larger than a frame of 16 KiB."""
    return b"".join(frames.header_block(stream_id, block, end_stream, frames.DEFAULT_FRAME_SIZE))


def greeting() -> bytes:
    """Return a client's connection preface: the magic and empty SETTINGS."""
    return frames.PREFACE + frames.settings({})


def _string(text: bytes) -> bytes:
    return _integer(len(text), 7, 0) + text


def _integer(value: int, prefix_bits: int, flags: int) -> bytes:
    """Return an integer in the HPACK encoding of RFC 7541 section 5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([flags | value])
    out = bytearray([flags | most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])

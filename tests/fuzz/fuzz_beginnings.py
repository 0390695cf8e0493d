"""Fuzz targets of the bytes before TLS: PROXY protocol headers, and the server name in a ClientHello.

Each function returns if the guarantees of its reader hold, as those of `fuzz_targets` do.
"""

from __future__ import annotations

from ipaddress import ip_address

from konnectivity.net.proxy_header import MAX_BLOCK, BadProxyHeader, ProxyHeader
from konnectivity.tls.client_hello import MAX_HELLO, BadClientHello, HelloReader

CUTS = (1, 2, 7, 100)


def proxy_header(data: bytes) -> None:
    """Feed the first bytes of a load balancer to the reader of its header."""
    whole = _header(data, len(data) or 1)
    for size in CUTS:
        assert _header(data, size) == whole, f"another header in pieces of {size}"


def _header(data: bytes, size: int) -> tuple[object, ...] | str:
    """Return whether the header is complete, the stated client, and the number of bytes that the header took."""
    header, held, taken = ProxyHeader(), b"", 0
    try:
        for at in range(0, len(data), size):
            held += data[at : at + size]
            while held and not header.complete and (part := header.feed(held[: header.wanted])):
                held, taken = held[part:], taken + part
    except BadProxyHeader as error:
        assert len(str(error)) < 100
        return str(error)
    assert taken <= 16 + MAX_BLOCK
    if header.source is not None:
        ip_address(header.source[0])
        assert 0 <= header.source[1] < 1 << 16
    return header.complete, header.source, taken


def client_hello(data: bytes) -> None:
    """Feed the first bytes of a TLS client to the reader of the server name."""
    whole = _name(data, len(data) or 1)
    for size in CUTS:
        assert _name(data, size) == whole, f"another name in pieces of {size}"


def _name(data: bytes, size: int) -> str | None:
    reader = HelloReader()
    for at in range(0, len(data), size):
        try:
            name = reader.feed(data[at : at + size])
        except BadClientHello as error:
            assert len(str(error)) < 100
            return f"error: {error}"
        assert bytes(reader.data) == data[: at + size]
        if name is not None:
            return name
    assert len(data) <= MAX_HELLO
    return None

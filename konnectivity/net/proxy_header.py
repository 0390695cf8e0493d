"""Header of the PROXY protocol, version 1 or 2, by which a load balancer states the client of a connection. Pure.

Owns the bytes of one header until it is complete. Takes no byte behind the header, reads no name, and keeps nothing of
the destination and of the extra fields of version 2. Does not know whether the sender may be believed.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal

MAX_LINE = 107  # bytes of a header of version 1, with its CR LF
MAX_BLOCK = 2048  # bytes of addresses and extra fields of a header of version 2
_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")  # signature, version and command, family and transport, length of the rest
_IPV4, _IPV6 = struct.Struct("!4s4sHH"), struct.Struct("!16s16sHH")  # source, destination, their ports
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_SMALLEST = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}  # bytes of the addresses of a family
_MAX_FAMILY, _MAX_TRANSPORT = 3, 2
_KINDS: dict[bytes, type[IPv4Address] | type[IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}

Source = tuple[str, int]  # address and port of a client


class BadProxyHeader(ValueError):
    """Header that breaks the protocol; the text names what is wrong, and repeats nothing of the header."""


class ProxyHeader:
    """Header that is being received.

    Attributes:
        complete: whether the header has ended.
        source: the stated client; None until the header has ended, and if it states no TCP client: the balancer speaks
            for itself (a health check), or for a client of another protocol.

    """

    __slots__ = ("_held", "_size", "complete", "source")

    def __init__(self) -> None:
        self.complete = False
        self.source: Source | None = None
        self._held = bytearray()
        self._size = _FIXED.size  # of a header of version 2, as far as it is known

    @property
    def wanted(self) -> int:
        """Return the largest number of bytes that `feed` can take next."""
        most = self._size if self._held[:1] == _SIGNATURE[:1] else MAX_LINE
        return most - len(self._held)

    def feed(self, data: bytes) -> int:
        """Take the header's bytes from the start of `data`, and return their number.

        Raises:
            BadProxyHeader: the bytes are no header.

        """
        first = self._held[:1] or data[:1]
        return self._feed_line(data) if first == _LINE[:1] else self._feed_block(data)

    def _feed_line(self, data: bytes) -> int:
        """Take bytes of version 1, whose end is a line's end."""
        end = data.find(b"\n", 0, self.wanted)
        taken = min(len(data), self.wanted) if end < 0 else end + 1
        self._held += data[:taken]
        if not self._held.startswith(_LINE[: len(self._held)]):
            raise BadProxyHeader("bytes that are no header")
        if end >= 0:
            self.source = _source_of_line(bytes(self._held))
            self.complete = True
        elif len(self._held) == MAX_LINE:
            raise BadProxyHeader(f"a line without CR LF in its first {MAX_LINE} bytes")
        return taken

    def _feed_block(self, data: bytes) -> int:
        """Take bytes of version 2, whose length is in its 16 first bytes."""
        taken = 0
        if len(self._held) < _FIXED.size:
            taken = self._take(data, 0)
            if not self._held.startswith(_SIGNATURE[: len(self._held)]):
                raise BadProxyHeader("bytes that are no header")
            if len(self._held) < _FIXED.size:
                return taken
            self._size += _length_of_block(bytes(self._held))
        taken += self._take(data, taken)
        if len(self._held) == self._size:
            self.source = _source_of_block(bytes(self._held))
            self.complete = True
        return taken

    def _take(self, data: bytes, start: int) -> int:
        """Keep the bytes from `start` that belong to the part whose size is known, and return their number."""
        part = data[start : start + self._size - len(self._held)]
        self._held += part
        return len(part)


def begins_header(data: bytes) -> bool:
    """Return whether a connection's first byte is one of a header. The first byte of TLS never is."""
    return data[:1] in (_LINE[:1], _SIGNATURE[:1])


def _source_of_line(line: bytes) -> Source | None:
    if not line.endswith(b"\r\n"):
        raise BadProxyHeader("a line that does not end with CR LF")
    family, *fields = line[len(_LINE) : -2].split(b" ")
    if family == b"UNKNOWN":
        return None
    kind = _KINDS.get(family)
    if kind is None:
        raise BadProxyHeader("a protocol other than TCP4, TCP6 and UNKNOWN")
    if len(fields) != 4:
        raise BadProxyHeader("a line without exactly two addresses and two ports")
    source, _ = _address(kind, fields[0]), _address(kind, fields[1])
    port, _ = _port(fields[2]), _port(fields[3])
    return _shown(source), port


def _address(kind: type[IPv4Address] | type[IPv6Address], field: bytes) -> IPv4Address | IPv6Address:
    try:
        if b"%" not in field:  # an IPv6 address with a zone means nothing on another machine
            return kind(field.decode("ascii"))
    except ValueError:
        pass
    raise BadProxyHeader("an address that is not of the stated family")


def _port(field: bytes) -> int:
    text = field.decode("latin-1")
    number = parse_decimal(text, MAX_PORT)
    if number is None or text != str(number):
        raise BadProxyHeader(f"a port that is no number between 0 and {MAX_PORT}")
    return number


def _length_of_block(fixed: bytes) -> int:
    """Return the number of bytes behind the fixed part, which is checked."""
    _, command, family, length = _FIXED.unpack(fixed)
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader("a version or a command that is not known")
    if length > MAX_BLOCK:
        raise BadProxyHeader(f"a header of more than {MAX_BLOCK} bytes")
    if command == _PROXY:
        if family >> 4 > _MAX_FAMILY or family & 15 > _MAX_TRANSPORT:
            raise BadProxyHeader("an address family or a transport that is not known")
        if length < _SMALLEST.get(family, 0):
            raise BadProxyHeader("a header that is too short for its addresses")
    return int(length)


def _source_of_block(block: bytes) -> Source | None:
    _, command, family, _ = _FIXED.unpack_from(block)
    if command == _PROXY and family == _TCP4:
        source, _, port, _ = _IPV4.unpack_from(block, _FIXED.size)
        return str(IPv4Address(source)), port
    if command == _PROXY and family == _TCP6:
        source, _, port, _ = _IPV6.unpack_from(block, _FIXED.size)
        return _shown(IPv6Address(source)), port
    return None


def _shown(address: IPv4Address | IPv6Address) -> str:
    """Return the text of an address; of an IPv4-mapped one, the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)

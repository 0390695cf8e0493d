"""Destination addresses as the wire carries them: "host:port" in the spellings that occur. Pure."""

from __future__ import annotations


def host_of(address: str) -> str:
    """The host of a requested address, for choosing an agent. An IPv6 host may stand with or without brackets.

    >>> host_of("10.0.0.1:10250"), host_of("[fd00::1]:10250"), host_of("fd00::1"), host_of("node-1")
    ('10.0.0.1', 'fd00::1', 'fd00::1', 'node-1')
    """
    if address.count(":") < 2:
        return address.partition(":")[0]
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address


def split(address: str) -> tuple[str, int]:
    """("host", port) of an address to dial.

    Raises:
        ValueError: with Go's text for what is wrong, which clients match on.
    """
    if address.startswith("["):
        host, closed, rest = address[1:].partition("]")
        if not closed:
            raise ValueError(f"address {address}: missing ']' in address")
        if not rest.startswith(":"):
            raise ValueError(f"address {address}: missing port in address")
        port = rest[1:]
    else:
        host, colon, port = address.rpartition(":")
        if not colon:
            raise ValueError(f"address {address}: missing port in address")
        if ":" in host:
            raise ValueError(f"address {address}: too many colons in address")
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"address {port}: invalid port")
    return host, int(port)

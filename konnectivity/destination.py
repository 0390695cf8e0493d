"""Addresses of destinations and servers: "host:port" in the spellings that occur. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address


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


def is_loopback(host: str) -> bool:
    """Whether a host, without a port, is this machine for itself alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


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


def parse_hosts(texts: Iterable[str], default_port: int) -> list[tuple[str, int]]:
    """(host, port) of each item of a list of `host`, `host:port`, `[v6]:port` or `v6`.

    Raises:
        ValueError: an item has no host, or a port that is none.
    """
    found: list[tuple[str, int]] = []
    for text in (item.strip() for item in texts):
        host, port = text, str(default_port)
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest[1:] if rest.startswith(":") else port
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        if not host:
            raise ValueError(f"{text!r} names no host")
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{text!r} has no port between 1 and 65535")
        if (host, int(port)) not in found:
            found.append((host, int(port)))
    return found

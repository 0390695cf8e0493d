"""Source of a peer: the part of its address that a peer cannot change at will. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address

IPV6_PREFIX = 64  # bits; the holder of one IPv6 address usually holds its whole /64


def source_of(address: str) -> str:
    """Return the source of "host:port" or "[host]:port", as `source_of_host` does. The port may be missing."""
    return source_of_host(address.rpartition(":")[0].strip("[]") or address)


def source_of_host(host: str) -> str:
    """Return the IPv4 address, also of an IPv4-mapped one, or the /64 of an IPv6 address; else the text itself."""
    if ":" not in host:
        return host
    try:
        found = IPv6Address(host)
    except ValueError:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    network = int(found) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
    return f"{IPv6Address(network)}/{IPV6_PREFIX}"

"""Source of a peer: the part of its address that a peer cannot change at will. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

IPV6_PREFIX = 64  # bits; whoever has one IPv6 address usually has the whole /64


def source_of(address: str) -> str:
    """Return the source of "host:port" or "[host]:port": the IPv4 address, or the IPv6 /64; else the text itself.

    An IPv4-mapped IPv6 address is the IPv4 address.
    """
    host = address.rpartition(":")[0].strip("[]") or address
    try:
        found: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return host
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    network = int(found) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
    return f"{IPv6Address(network)}/{IPV6_PREFIX}"

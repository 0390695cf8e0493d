"""Policy on destinations: the rules on what may be dialled, and the verdict on one address. Pure.

An address is judged after the lookup of its name, in the form that the kernel is given; the caller must dial exactly
the address that was judged. The policy refuses, in this order: an address that a rule denies; an address that serves
cloud metadata, unless a rule allows that very address; and, if there are rules that allow, an address that none allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from konnectivity.net.addresses import is_label

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Addresses that hand out credentials or secrets of the machine (docs/secure/policy.md names the owner of each).
METADATA: frozenset[Address] = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fe80::a9fe:a9fe",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::23",
            "168.63.129.16",
            "192.0.0.192",
            "100.100.100.200",
            "169.254.0.23",
            "169.254.42.42",
            "fd00:42::42",
        ),
    )
)
ALL_PORTS = (1, 65535)
ANYTHING = "*"
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address behind a gateway
_MAPPED = IPv6Network("::ffff:0:0/96")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


class Rule(NamedTuple):
    """Rule on a set of destinations: a network or a name, at some ports."""

    text: str  # as the user wrote it
    network: Network | None
    name: str  # without a network: `*`, a name, or `.suffix`
    ports: tuple[int, int]  # the first and the last

    def covers(self, name: str, address: Address | None, port: int) -> bool:
        """Return whether a destination is in the set.

        Args:
            name: canonical; empty if an address was asked for.
            address: what the name was resolved to; None: not resolved yet, and in no network.
            port: of the destination.

        """
        if not self.ports[0] <= port <= self.ports[1]:
            return False
        if self.network is not None:
            return address is not None and address.version == self.network.version and address in self.network
        if self.name.startswith("."):
            return name.endswith(self.name)
        return self.name in (ANYTHING, name)


class PolicyRefusal(NamedTuple):
    """Reason why an address is not dialled: `reason` is a metric label, `text` is part of the error of the dial."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of one agent. Without rules every address is allowed that does not serve cloud metadata."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    reachable: frozenset[tuple[Address, int, int]] = field(init=False)  # metadata, at ports, that is allowed by name

    def __post_init__(self) -> None:
        single = [rule for rule in self.allow if rule.network is not None and rule.network.num_addresses == 1]
        found = {(rule.network.network_address, *rule.ports) for rule in single if rule.network is not None}
        object.__setattr__(self, "reachable", frozenset(found))

    def refusal(self, host: str, address: str, port: int) -> PolicyRefusal | None:
        """Return why an address must not be dialled; None if it may be.

        Args:
            host: as the dial has it: a name in any spelling, or an address.
            address: numeric, in the form of `getaddrinfo`.
            port: of the destination.

        Raises:
            UnicodeError: the host can be no name.
            ValueError: the address is malformed.

        """
        name = "" if host == address else canonical_name(host)
        places = places_of(address)
        for rule in self.deny:
            if any(rule.covers(name, place, port) for place in places):
                return PolicyRefusal("denied", f"{places[0]} port {port} is denied by {rule.text}")
        for place in places:
            if place in METADATA and not self._reachable(place, port):
                return PolicyRefusal("metadata", f"{place} serves cloud metadata")
        if self.allow and not any(rule.covers(name, places[0], port) for rule in self.allow):
            return PolicyRefusal("not_allowed", f"nothing allows {places[0]} port {port}")
        return None

    def _reachable(self, address: Address, port: int) -> bool:
        return any(address == place and first <= port <= last for place, first, last in self.reachable)


def parse(allow: Iterable[str], deny: Iterable[str]) -> Policy:
    """Return the policy that flags describe.

    Raises:
        ValueError: a rule cannot be read.

    """
    return Policy(tuple(map(parse_rule, allow)), tuple(map(parse_rule, deny)))


def parse_rule(text: str) -> Rule:
    """Read `TARGET`, `TARGET:PORT` or `TARGET:FIRST-LAST`. IPv6 stands in brackets if ports follow.

    >>> parse_rule("10.0.0.0/8:443").ports, parse_rule("[fd00::/8]:1-1023").name, parse_rule("*.Example").name
    ((443, 443), '', '.example')

    Raises:
        ValueError: the rule cannot be read; the text tells why.

    """
    target, ports = _divided(text.strip())
    bracketed = target.startswith("[")
    try:
        network = ip_network(target.strip("[]"))
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"{text!r} has bits of a host: the network is {_network_of(target)}") from None
        if bracketed or "/" in target or ":" in target:
            raise ValueError(f"{text!r} is no address, network or name, with a port or not") from None
        return Rule(text, None, _name_rule(target, text), ports)
    if bracketed and network.version == 4:
        raise ValueError(f"{text!r}: IPv4 stands without brackets")
    return Rule(text, _canonical_network(network), "", ports)


def canonical_name(host: str) -> str:
    """Return the spelling of a name that is looked up; empty for an address.

    Raises:
        UnicodeError: the host can be no name.

    """
    if ":" in host:
        return ""
    name = host.encode("idna").decode().lower().rstrip(".")
    return "" if _numeric(name) else name


def canonical_address(text: str) -> Address:
    """Return the address that a connection reaches: IPv4 for IPv4-mapped, loopback for unspecified, no scope.

    Raises:
        ValueError: the text is no address.

    """
    return _reached(ip_address(text))


def _reached(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address))
    if address.is_unspecified:  # a connection to an unspecified address reaches this host
        return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")
    return address


def places_of(text: str) -> list[Address]:
    """Return the canonical address and, for a NAT64 address, the IPv4 address behind the gateway."""
    address = canonical_address(text)
    if isinstance(address, IPv6Address) and address in _NAT64:
        return [address, _reached(IPv4Address(int(address) & 0xFFFFFFFF))]
    return [address]


def _divided(text: str) -> tuple[str, tuple[int, int]]:
    """Return the target and the ports of a rule."""
    head, colon, tail = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in head and not head.endswith("]")):
        return text, ALL_PORTS
    match = _PORTS.fullmatch(tail)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"{text!r}: {tail!r} is no port, and no range of ports as in 30000-32767")
    return head, (first, last)


def _name_rule(target: str, text: str) -> str:
    if target == ANYTHING:
        return ANYTHING
    suffix = target.removeprefix("*")
    if "*" in suffix or (suffix != target and not suffix.startswith(".")):
        raise ValueError(f"{text!r}: a * stands alone, or for the first labels of a name as in *.example.org")
    try:
        name = canonical_name(suffix.removeprefix("."))
    except UnicodeError:
        name = ""
    if not name or not all(map(is_label, name.split("."))):
        raise ValueError(f"{text!r} is no address, network or name, with a port or not")
    return f".{name}" if suffix != target else name


def _numeric(name: str) -> bool:
    """Return whether the last label is a number: such a host is a spelling of an address, and never a name."""
    last = name.rpartition(".")[2]
    return last.isdecimal() or (last.startswith("0x") and all(digit in "0123456789abcdef" for digit in last[2:]))


def _canonical_network(network: Network) -> Network:
    if network.num_addresses == 1:
        return ip_network(_reached(network.network_address))
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _network_of(target: str) -> Network:
    return ip_network(target.strip("[]"), strict=False)

"""Addresses of destinations and servers: "host:port" in its spellings. Pure.

A host is an IPv4 address of four decimal numbers, an IPv6 address with or without a zone, or a name of letters, digits,
hyphens and underscores (RFC 952, RFC 1123). Any other text is refused: one that the C library would read differently
from a policy (a NUL, `0x7f.1`, `127.1`), or one that would end a line of HTTP. Resolves no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal

NETWORKS = ("tcp", "tcp4", "tcp6")  # Go's names of the networks of a dial
MAX_NAME = 253  # characters of a host name without its final dot (RFC 1035)
MAX_LABEL = 63
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_ZONE = re.compile(r"[a-z0-9_.~-]{1,63}", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)
_SHOWN = 256  # characters of a refused address in an error text
_REMEMBERED = 256  # destinations whose parts are kept, since most dials go to few of them: at most 300 KiB


def host_of(address: str) -> str:
    """Return the host of a requested address, for the choice of an agent. An IPv6 host may have brackets.

    >>> host_of("10.0.0.1:10250"), host_of("[fd00::1]:10250"), host_of("fd00::1"), host_of("node-1")
    ('10.0.0.1', 'fd00::1', 'fd00::1', 'node-1')
    """
    if address.count(":") < 2:
        return address.partition(":")[0]
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address


def is_loopback(host: str) -> bool:
    """Return whether a host, without a port, is a loopback address or `localhost`.

    An IPv6 address may have brackets and a zone, and may be an IPv4-mapped one.

    >>> is_loopback("127.0.0.1"), is_loopback("[::1]"), is_loopback("::100"), is_loopback("localhost.example.com")
    (True, True, False, False)
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def is_unspecified(host: str) -> bool:
    """Return whether a host stands for all interfaces: empty, `0.0.0.0`, `::`, or another spelling of these."""
    try:
        return not host or ip_address(host.removeprefix("[").removesuffix("]")).is_unspecified
    except ValueError:
        return False


@lru_cache(_REMEMBERED)
def parse(network: str, address: str) -> tuple[str, int]:
    """Return host and port of a dial.

    Raises:
        ValueError: with Go's text of a failed dial.

    """
    if network not in NETWORKS:
        raise ValueError(f"dial {shown(network)}: unknown network {shown(network)}")
    try:
        return split(address)
    except ValueError as error:
        raise ValueError(f"dial {network}: {error}") from None


@lru_cache(_REMEMBERED)
def split(address: str) -> tuple[str, int]:
    """Return host and port of an address to dial. An empty host means the machine that dials, as in Go.

    Raises:
        ValueError: with Go's text for the error, which clients match.

    """
    if address.startswith("["):
        host, closed, rest = address[1:].partition("]")
        if not closed:
            raise ValueError(f"address {shown(address)}: missing ']' in address")
        if not rest.startswith(":"):
            raise ValueError(f"address {shown(address)}: missing port in address")
        port = rest[1:]
    else:
        host, colon, port = address.rpartition(":")
        if not colon:
            raise ValueError(f"address {shown(address)}: missing port in address")
        if ":" in host:
            raise ValueError(f"address {shown(address)}: too many colons in address")
    number = parse_decimal(port, MAX_PORT)
    if number is None:
        raise ValueError(f"address {shown(port)}: invalid port")
    if host:
        check_host(host)
    return host, number


def joined(host: str, port: int) -> str:
    """Return "host:port", with an IPv6 address in brackets.

    >>> joined("fd00::1", 80), joined("a", 80)
    ('[fd00::1]:80', 'a:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_port(address: str) -> bool:
    """Return whether an address has a port beside its host."""
    return "]:" in address if address.startswith("[") else address.count(":") == 1


def split_frontend(address: str) -> tuple[str, str, int]:
    """Return path, host and port of a server's frontend: "unix:/path" or "/path", or else "host:port".

    Raises:
        ValueError: the address is neither.

    """
    if address.startswith(("unix:", "/")):
        path = address.removeprefix("unix:")
        if not path or "\0" in path:
            raise ValueError(f"{shown(address)!r} names no unix socket; write unix:/path")
        return path, "", 0
    host, port = split(address)
    if not host or not port:
        raise ValueError(f"{shown(address)!r} names no frontend; write unix:/path or host:port")
    return "", host, port


def check_host(host: str) -> None:
    """Check that a text is an address or a name.

    Raises:
        ValueError: with Go's text, and the reason between its two halves.

    """
    problem = _address_problem(host) if ":" in host or is_numeric(host) else _name_problem(host)
    if problem:
        raise ValueError(f"lookup {shown(host)}: {problem}: no such host")


@lru_cache(_REMEMBERED)
def is_address(host: str) -> bool:
    """Return whether a host is an address, so that no name has to be resolved."""
    return (":" in host or is_numeric(host)) and not _address_problem(host)


def is_numeric(host: str) -> bool:
    """Return whether all labels are numbers: the C library reads such a host as an address, never as a name."""
    return all(map(_NUMBER.fullmatch, host.rstrip(".").split(".")))


def is_label(label: str) -> bool:
    """Return whether a text is one label of a host name."""
    return len(label) <= MAX_LABEL and _LABEL.fullmatch(label) is not None


def shown(text: str) -> str:
    """Return a foreign text for an error message: at most 256 characters, all but printable ASCII escaped."""
    cut = text[:_SHOWN] + "..." if len(text) > _SHOWN else text
    return cut if cut.isascii() and cut.isprintable() else ascii(cut)[1:-1]


def parse_hosts(texts: Iterable[str], default_port: int) -> list[tuple[str, int]]:
    """Return host and port of each item of a list of `host`, `host:port`, `[v6]:port` or `v6`.

    Raises:
        ValueError: an item has no host, or an invalid host or port.

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
        if problem := _configured_problem(host):
            raise ValueError(f"{shown(text)!r} is no host: {problem}")
        number = parse_decimal(port, MAX_PORT)
        if not number:
            raise ValueError(f"{shown(text)!r} has no port between 1 and {MAX_PORT}")
        if (host, number) not in found:
            found.append((host, number))
    return found


def _configured_problem(host: str) -> str:
    """Return the error in a host that an operator wrote, or an empty text. A name may be in any script."""
    if ":" in host:
        return _address_problem(host)
    try:
        return _name_problem(host if host.isascii() else host.encode("idna").decode("ascii"))
    except UnicodeError:
        return "it has no form in ASCII"


def _address_problem(host: str) -> str:
    text, percent, zone = host.partition("%")
    try:
        address = ip_address(text)
    except ValueError:
        return "not an IPv6 address" if ":" in host else "not an IPv4 address of four decimal numbers"
    if percent and not (isinstance(address, IPv6Address) and _ZONE.fullmatch(zone)):
        return "not an address with a zone"
    return ""


def _name_problem(name: str) -> str:
    bare = name.removesuffix(".")
    if len(bare) > MAX_NAME:
        return f"a name has at most {MAX_NAME} characters"
    for label in bare.split("."):
        if not label:
            return "a name has no empty label"
        if len(label) > MAX_LABEL:
            return f"a label of a name has at most {MAX_LABEL} characters"
        if not is_label(label):
            return "a name has letters, digits, hyphens inside a label, and underscores only"
    return ""

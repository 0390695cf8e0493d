"""Classes of probes: the declarations of `--probe`, and the target of a class behind one agent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from konnectivity.net import addresses
from konnectivity_server.agents.agent_identifiers import Identifiers

MAX_CLASSES = 16
TCP, TLS, HTTP, HTTPS, DNS = "tcp", "tls", "http", "https", "dns"
_FORM = "write NAME=HOST:PORT, then nothing or ,tcp or ,tls or ,http:/path or ,https:/path or ,dns:name"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PLACEHOLDER = re.compile(r"\{(ipv4|ipv6|host)\}")
_PATH = re.compile(r"/[!-~]{0,255}")
_DNS_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class ProbeClass:
    """Class of probes: one kind of target behind every agent."""

    name: str
    host: str  # a name, an address without brackets, or a placeholder for an identifier of the agent
    port: int
    kind: str = TCP
    detail: str = ""  # path of an HTTP request, or name of a DNS question

    def host_for(self, identifiers: Identifiers) -> str | None:
        """Return the host behind the agent with these identifiers; None if the agent claims none of that sort."""
        match = _PLACEHOLDER.fullmatch(self.host)
        if match is None:
            return self.host
        values: tuple[str, ...] = getattr(identifiers, match[1])
        return values[0] if values else None

    def address_for(self, identifiers: Identifiers) -> str | None:
        """Return "host:port" of the target behind an agent; None if the agent claims none that can be dialled."""
        host = self.host_for(identifiers)
        if host is None:
            return None
        address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        try:
            addresses.split(address)
        except ValueError:
            return None
        return address


def parse(texts: Iterable[str]) -> tuple[ProbeClass, ...]:
    """Return the classes that the values of `--probe` declare.

    Raises:
        ValueError: a value cannot be read, a name stands twice, or there are more than MAX_CLASSES.

    """
    found = tuple(map(parse_class, texts))
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two probes have the name {name!r}; give each its own name")
    if len(found) > MAX_CLASSES:
        raise ValueError(f"{len(found)} probes; at most {MAX_CLASSES} are allowed")
    return found


def parse_class(text: str) -> ProbeClass:
    """Return the class that one value of `--probe` declares.

    >>> parse_class("kubelet={ipv4}:10250,tls")
    ProbeClass(name='kubelet', host='{ipv4}', port=10250, kind='tls', detail='')

    Raises:
        ValueError: the value cannot be read; the text tells why.

    """
    name, equals, rest = text.partition("=")
    address, comma, how = rest.partition(",")
    if not equals or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r}: {_FORM}; the name has small letters, digits and dashes")
    host, port = _target(text, address)
    kind, _, detail = how.partition(":") if comma else (TCP, "", "")
    if problem := _problem(kind, detail):
        raise ValueError(f"{text!r}: {problem}; {_FORM}")
    return ProbeClass(name, host, port, kind, detail)


def _target(text: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    placeholder = _PLACEHOLDER.fullmatch(host.strip("[]"))
    if "{" in host and not placeholder:
        raise ValueError(f"{text!r}: the placeholders are {{ipv4}}, {{ipv6}} and {{host}}, and stand alone; {_FORM}")
    try:
        host, number = addresses.split(f"host:{port}" if placeholder else address)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; {_FORM}") from None
    if not host or not colon or number == 0:
        raise ValueError(f"{text!r}: the target needs a host, and a port above 0; {_FORM}")
    return (placeholder[0] if placeholder else host), number


def _problem(kind: str, detail: str) -> str:
    if kind in (TCP, TLS):
        return f"{kind} has nothing behind it" if detail else ""
    if kind in (HTTP, HTTPS):
        return "" if _PATH.fullmatch(detail) else "the path begins with / and has printable ASCII characters"
    if kind == DNS:
        return "" if _DNS_NAME.fullmatch(detail) else f"{detail!r} is no name to ask for"
    return f"{kind!r} is no kind of probe"

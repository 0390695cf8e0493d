"""Identifiers of an agent: addresses, names and networks in its header `agentIdentifiers`, URL-query encoded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

MAX_LENGTH = 256  # characters of one identifier
MAX_IDENTIFIERS = 256  # identifiers of one agent
MAX_TEXT = 16 * 1024  # characters of all identifiers of one agent, as sent
_KINDS = frozenset({"ipv4", "ipv6", "host", "cidr", "default-route"})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Addresses, names and networks that an agent serves. Values are opaque strings, as sent."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    cidr: tuple[str, ...] = ()
    default_route: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses and names by which the strategy destHost finds the agent."""
        return self.ipv4 + self.ipv6 + self.host


def parse(text: str) -> Identifiers:
    """Return the identifiers that a header's value encodes. Unknown keys are ignored.

    Raises:
        ValueError: the text is not a URL query (a `;`, or a bad percent-escape).

    """
    found: dict[str, list[str]] = {}
    for pair in text.split("&"):
        if ";" in pair:
            raise ValueError("invalid semicolon separator in query")
        if pair:
            key, _, value = pair.partition("=")
            kind, text = _unescape(key), _unescape(value)
            if kind in _KINDS:
                found.setdefault(kind, []).append(text)
    routes = found.get("default-route", [])
    return Identifiers(
        ipv4=tuple(found.get("ipv4", ())),
        ipv6=tuple(found.get("ipv6", ())),
        host=tuple(found.get("host", ())),
        cidr=tuple(found.get("cidr", ())),
        default_route=bool(routes) and routes[0] in _TRUE,
    )


def over_limit(text: str) -> str:
    """Return which limit the header's value exceeds before it is decoded, or an empty text."""
    if len(text) > MAX_TEXT:
        return f"the agent identifiers have {len(text)} characters; at most {MAX_TEXT} are allowed"
    return ""


def refusal(names: Identifiers) -> str:
    """Return why an agent with these identifiers is refused, or an empty text."""
    values = (*names.addresses, *names.cidr)
    if len(values) > MAX_IDENTIFIERS:
        return f"the agent has {len(values)} identifiers; at most {MAX_IDENTIFIERS} are allowed"
    longest = max(map(len, values), default=0)
    if longest > MAX_LENGTH:
        return f"an agent identifier has {longest} characters; at most {MAX_LENGTH} are allowed"
    if not all(map(str.isprintable, values)):
        return "an agent identifier has control characters, or bytes that are no UTF-8"
    return ""


def _unescape(text: str) -> str:
    parts = text.split("%")
    for part in parts[1:]:
        if len(part) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in part[:2]):
            raise ValueError(f'invalid URL escape "%{part[:2]}"')
    return unquote_plus(text)

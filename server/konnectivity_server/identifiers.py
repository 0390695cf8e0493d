"""What an agent says of itself: the `agentIdentifiers` header, URL-query encoded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Addresses an agent stands for. Values are opaque strings, as sent."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    cidr: tuple[str, ...] = ()
    default_route: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Everything that `destHost` looks up."""
        return self.ipv4 + self.ipv6 + self.host


def parse(text: str) -> Identifiers:
    """Decode the header's value. Unknown keys are ignored.

    Raises:
        ValueError: it is not a URL query (a `;`, or a bad percent-escape).
    """
    found: dict[str, list[str]] = {}
    for pair in text.split("&"):
        if ";" in pair:
            raise ValueError("invalid semicolon separator in query")
        if pair:
            key, _, value = pair.partition("=")
            found.setdefault(_unescape(key), []).append(_unescape(value))
    routes = found.get("default-route", [])
    return Identifiers(
        ipv4=tuple(found.get("ipv4", ())),
        ipv6=tuple(found.get("ipv6", ())),
        host=tuple(found.get("host", ())),
        cidr=tuple(found.get("cidr", ())),
        default_route=bool(routes) and routes[0] in _TRUE,
    )


def _unescape(text: str) -> str:
    parts = text.split("%")
    for part in parts[1:]:
        if len(part) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in part[:2]):
            raise ValueError(f'invalid URL escape "%{part[:2]}"')
    return unquote_plus(text)

"""Policy on frontends: which client may dial which destination, in the rules of the agent's policy. Pure.

A policy is a list of entries; the first entry that names the client decides, and a client that no entry names may
dial nothing. The server judges what was asked for: a name is judged by its spelling, since the agent resolves it. The
agent's own policy judges the address that is dialled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from konnectivity.grpc.message_stream import Peer
from konnectivity.net import addresses
from konnectivity.net.destination_policy import Address, Rule, canonical_name, parse_rule, places_of
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity.untrusted.untrusted_text import cut

EVERYONE = "*"
COMMON_NAME, ALTERNATIVE_NAME, USER, GROUP = "cn", "san", "uid", "gid"
MAX_ENTRIES = 1000
MAX_ID = 2**32 - 1  # of a unix user or group
_KEYS = {"clients", "allow", "deny"}


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """Entry of a policy: clients, and what they may dial.

    Attributes:
        clients: `cn=NAME`, `san=NAME`, `uid=N`, `gid=N`, or `*`.
        allow: destinations that may be dialled; empty: all that `deny` leaves.
        deny: destinations that may not be dialled.

    """

    clients: frozenset[str]
    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...]

    def refusal(self, host: str, port: int) -> str | None:
        """Return why a destination must not be dialled; None if it may be."""
        name, places = _judged(host)
        if rule := _covering(self.deny, name, places, port):
            return f"port {port} is denied by {rule.text}"
        if self.allow and _covering(self.allow, name, places[:1], port) is None:
            return f"nothing allows port {port}"
        return None


@dataclass(frozen=True, slots=True)
class FrontendPolicy:
    """Policy of one server."""

    entries: tuple[PolicyEntry, ...]

    def refusal(self, client: Peer, address: str) -> str | None:
        """Return why a client must not dial "host:port"; None if it may."""
        known = {EVERYONE, *credentials_of(client)}
        try:
            host, port = addresses.split(address)
        except ValueError as error:  # of a network that only agents know
            return str(error)
        for number, entry in enumerate(self.entries, 1):
            if entry.clients & known:
                why = entry.refusal(host, port)
                return None if why is None else f"{addresses.shown(host)} {why} (entry {number})"
        return f"no entry names the client {cut(client.name, 200)}"


def credentials_of(client: Peer) -> Iterator[str]:
    """Yield what a client may be named by: names of its certificate, or user and group of its process."""
    if client.process is not None:
        yield f"{USER}={client.process.uid}"
        yield f"{GROUP}={client.process.gid}"
    if client.common_name:
        yield f"{COMMON_NAME}={client.common_name}"
    for _, value in (client.certificate or {}).get("subjectAltName", ()):
        yield f"{ALTERNATIVE_NAME}={value}"


def parse_policy(document: Any) -> FrontendPolicy:
    """Return the policy in a document of lists, mappings and texts.

    Raises:
        ValueError: the document is no policy; the text names the entry.

    """
    if not isinstance(document, list) or not 0 < len(document) <= MAX_ENTRIES:
        raise ValueError(f"a policy is a list of 1 to {MAX_ENTRIES} entries with clients, allow and deny")
    return FrontendPolicy(tuple(_entry(each, number) for number, each in enumerate(document, 1)))


def _entry(document: Any, number: int) -> PolicyEntry:
    if not isinstance(document, Mapping) or not set(document) <= _KEYS:
        raise ValueError(f"entry {number} is not a mapping with the keys clients, allow and deny")
    clients = _texts(document, "clients", number)
    if not clients:
        raise ValueError(f"entry {number} names no clients; write cn=, san=, uid=, gid= or *")
    for client in clients:
        kind, _, value = client.partition("=")
        known = kind in (COMMON_NAME, ALTERNATIVE_NAME) and value
        if client != EVERYONE and not known and not (kind in (USER, GROUP) and _is_id(value)):
            raise ValueError(f"entry {number}: client {client!r} is not cn=NAME, san=NAME, uid=N, gid=N or *")
    try:
        allow, deny = (tuple(map(parse_rule, _texts(document, key, number))) for key in ("allow", "deny"))
    except ValueError as error:
        raise ValueError(f"entry {number}: {error}") from None
    return PolicyEntry(frozenset(clients), allow, deny)


def _texts(document: Mapping[str, Any], key: str, number: int) -> Sequence[str]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"entry {number}: {key} is not a list of texts")
    return found


def _judged(host: str) -> tuple[str, list[Address]]:
    """Return the canonical name of a host, or its addresses: those that a rule may cover."""
    if addresses.is_address(host):
        return "", places_of(host.partition("%")[0])
    try:
        return canonical_name(host), []
    except UnicodeError:
        return host.lower(), []


def _covering(rules: Sequence[Rule], name: str, places: Sequence[Address], port: int) -> Rule | None:
    """Return the first rule that covers a name, or one of the addresses."""
    for rule in rules:
        if any(rule.covers(name, place, port) for place in places or (None,)):
            return rule
    return None


def _is_id(text: str) -> bool:
    """Return whether a text is the number of a unix user or group, in the one spelling that a client's number has."""
    return str(parse_decimal(text, MAX_ID)) == text

"""Policy on frontends: which client may dial which destination, in the rules of the agent's policy. Pure.

A policy is a list of entries; the first entry that names the client decides, and a client that no entry names may
dial nothing. The server judges what was asked for: a name is judged by its spelling, since the agent resolves it. The
agent's own policy judges the address that is dialled.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from konnectivity.grpc.message_stream import Peer
from konnectivity.net import addresses
from konnectivity.net.destination_policy import Address, Rule, canonical_name, parse_rule, places_of
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity.untrusted.untrusted_text import cut

EVERYONE = "*"
COMMON_NAME, ALTERNATIVE_NAME, USER_ID, GROUP_ID = "cn", "san", "uid", "gid"
USER, TOKEN, FRONTEND = "user", "token-sha256", "frontend"
FORWARD = "forward"  # kind of the frontend for other programs
MAX_ENTRIES = 1000
MAX_ID = 2**32 - 1  # of a unix user or group
_KEYS = {"clients", "allow", "deny"}
_FORMS = "cn=NAME, san=NAME, uid=N, gid=N, user=NAME, token-sha256=HEX, frontend=forward or *"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """Entry of a policy: clients, and what they may dial.

    Attributes:
        clients: `cn=NAME`, `san=NAME`, `uid=N`, `gid=N`, `user=NAME`, `frontend=forward`, or `*`.
        tokens: SHA-256 digests of the tokens of further clients.
        allow: destinations that may be dialled; empty: all that `deny` leaves.
        deny: destinations that may not be dialled.

    """

    clients: frozenset[str]
    tokens: tuple[bytes, ...]
    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...]

    def names(self, client: Peer, known: set[str]) -> bool:
        """Return whether the entry is about a client, which has the credentials `known`."""
        if self.clients & known:
            return True
        shown = client.token_sha256
        found = [hmac.compare_digest(shown, each) for each in self.tokens if shown]  # all, in constant time
        return any(found)

    def refusal(self, host: str, port: int, asked_for: str) -> str | None:
        """Return why a destination, asked for by the name `asked_for` or by itself, must not be dialled, or None."""
        name, places = _judged(host)
        name = _judged(asked_for)[0] if asked_for else name
        if rule := _covering(self.deny, name, places, port):
            return f"port {port} is denied by {rule.text}"
        if self.allow and _covering(self.allow, name, places[:1], port) is None:
            return f"nothing allows port {port}"
        return None


@dataclass(frozen=True, slots=True)
class FrontendPolicy:
    """Policy of one server."""

    entries: tuple[PolicyEntry, ...]

    def refusal(self, client: Peer, address: str, asked_for: str = "") -> str | None:
        """Return why a client must not dial "host:port"; None if it may.

        Args:
            client: the client.
            address: destination.
            asked_for: name that the client asked for, where this server resolved it to the address; else empty.

        """
        known = {EVERYONE, *credentials_of(client)}
        try:
            host, port = addresses.split(address)
        except ValueError as error:  # of a network that only agents know
            return str(error)
        for number, entry in enumerate(self.entries, 1):
            if entry.names(client, known):
                why = entry.refusal(host, port, asked_for)
                return None if why is None else f"{addresses.shown(host)} {why} (entry {number})"
        return f"no entry names the client {cut(client.name, 200)}"


def credentials_of(client: Peer) -> Iterator[str]:
    """Yield what a client may be named by: its certificate, its process, its password, its frontend."""
    if client.process is not None:
        yield f"{USER_ID}={client.process.uid}"
        yield f"{GROUP_ID}={client.process.gid}"
    if client.user:
        yield f"{USER}={client.user}"
    if client.frontend:
        yield f"{FRONTEND}={client.frontend}"
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
        raise ValueError(f"entry {number} names no clients; write {_FORMS}")
    for client in clients:
        if not _is_client(client):
            raise ValueError(f"entry {number}: client {client!r} is not {_FORMS}")
    tokens = tuple(bytes.fromhex(each.partition("=")[2]) for each in clients if each.startswith(f"{TOKEN}="))
    try:
        allow, deny = (tuple(map(parse_rule, _texts(document, key, number))) for key in ("allow", "deny"))
    except ValueError as error:
        raise ValueError(f"entry {number}: {error}") from None
    return PolicyEntry(frozenset(clients), tokens, allow, deny)


def _is_client(text: str) -> bool:
    """Return whether a text names clients."""
    kind, _, value = text.partition("=")
    if kind in (USER_ID, GROUP_ID):
        return _is_id(value)
    if kind == TOKEN:
        return _DIGEST.fullmatch(value) is not None
    if kind == FRONTEND:
        return value == FORWARD
    return text == EVERYONE or (kind in (COMMON_NAME, ALTERNATIVE_NAME, USER) and bool(value))


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

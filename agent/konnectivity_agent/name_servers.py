"""Configuration of the system's name resolution, and DNS messages that ask whether a name server answers. Pure.

Knows what `resolv.conf` and `hosts` say (resolv.conf(5), hosts(5)) as far as it decides which questions the C library
would ask: servers, search list, ndots, timeout. Reads of an answer only whose it is, and whether it holds anything.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from konnectivity.untrusted.numbers import parse_decimal

MAX_SERVERS = 3  # as in the C library
MAX_SEARCH = 256  # characters of a search list
MAX_NDOTS, MAX_TIMEOUT_S = 15, 30
TYPE_A, TYPE_AAAA = 1, 28
_HEAD = 12  # bytes of a DNS message in front of its question
_RECURSION_DESIRED = 0x0100
_TRUNCATED = 0x02  # flag in the third byte of a message
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_MAX_NAME, _MAX_LABEL = 253, 63


class Reply(enum.IntEnum):
    """Answer of a name server to one question. Of several answers the greatest one counts."""

    NOTHING = 0  # the name does not exist, or has no record of that type
    FAILURE = 1  # another server has to be asked
    FOUND = 2
    TRUNCATED = 3  # the complete answer is available over TCP only


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings that decide which questions are asked for a name: servers, search list, ndots, timeout."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout_s: float = 5.0  # seconds for the answer of one server

    def candidates(self, name: str) -> list[str]:
        """Return the full names that are asked for, in order."""
        if name.endswith("."):
            return [name.rstrip(".")]
        expanded = [f"{name}.{each}" if each else name for each in self.search]
        order = [name, *expanded] if name.count(".") >= self.ndots else [*expanded, name]
        return [each for each in dict.fromkeys(order) if _is_askable(each)]


def read_configuration(text: str, environment: Mapping[str, str]) -> Configuration:
    """Return what a `resolv.conf` and the variables LOCALDOMAIN and RES_OPTIONS say. What makes no sense is ignored."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            servers.append(values[0])
        elif keyword in ("search", "domain"):
            search = values[:1] if keyword == "domain" else values
        elif keyword == "options":
            options += values
    if "LOCALDOMAIN" in environment:
        search = environment["LOCALDOMAIN"].split()
    options += environment.get("RES_OPTIONS", "").split()
    domains = tuple(each.rstrip(".") for each in " ".join(search)[:MAX_SEARCH].split())
    return Configuration(
        tuple(servers[:MAX_SERVERS]) or Configuration().servers,
        domains,
        _option(options, "ndots", MAX_NDOTS, 1),
        float(_option(options, "timeout", MAX_TIMEOUT_S, 5) or 1),
    )


def read_hosts(lines: Iterable[str]) -> frozenset[str]:
    """Return the names that a `hosts` file has, in lower case."""
    return frozenset(
        name.lower().rstrip(".") for line in lines for name in line.partition("#")[0].split()[1:] if name.isascii()
    )


def question_of(name: str, kind: int) -> bytes:
    """Return the question for records of a type."""
    labels = b"".join(bytes((len(each),)) + each.encode("ascii") for each in name.split("."))
    return labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"


def query(number: int, question: bytes) -> bytes:
    """Return the message that asks a question."""
    return b"".join(each.to_bytes(2, "big") for each in (number, _RECURSION_DESIRED, 1, 0, 0, 0)) + question


def number_of(message: bytes) -> int:
    """Return the number of the query that a message answers; -1 if it is no answer."""
    return int.from_bytes(message[:2], "big") if len(message) >= _HEAD and message[2] & 0x80 else -1


def read_reply(message: bytes, question: bytes) -> Reply | None:
    """Return what an answer says to a question; None if it answers another one."""
    code = message[3] & 0x0F
    if message[_HEAD : _HEAD + len(question)].lower() != question.lower():
        return Reply.FAILURE if code not in (_NO_ERROR, _NO_SUCH_NAME) and len(message) == _HEAD else None
    if message[2] & _TRUNCATED:
        return Reply.TRUNCATED
    if code == _NO_SUCH_NAME:
        return Reply.NOTHING
    if code != _NO_ERROR:
        return Reply.FAILURE
    return Reply.FOUND if message[6:8] != b"\0\0" else Reply.NOTHING


def _option(options: Iterable[str], name: str, most: int, default: int) -> int:
    found = default
    for each in options:
        key, colon, value = each.partition(":")
        number = parse_decimal(value, 9999)
        if key == name and colon and number is not None:
            found = min(number, most)
    return found


def _is_askable(name: str) -> bool:
    labels = name.split(".")
    return name.isascii() and len(name) <= _MAX_NAME and all(0 < len(each) <= _MAX_LABEL for each in labels)

"""Labels and label selectors, read by the rules of Kubernetes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

Labels = Mapping[str, str]

_TOKEN = re.compile(r"(==|!=|[=!<>(),]|[^=!<>(),\s]+)\s*")
_PUNCTUATION = frozenset(("==", "=", "!=", "!", "<", ">", "(", ")", ","))
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,19}")


class Requirement(NamedTuple):
    """Condition of a selector: `operator` is one of `exists`, `!`, `in`, `notin`, `>`, `<`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Return whether the labels meet the condition."""
        value = labels.get(self.key)
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        if self.operator == "in":
            return value in self.values
        if self.operator == "notin":
            return value not in self.values  # also without the label
        if value is None or not _WHOLE_NUMBER.fullmatch(value):
            return False
        (bound,) = map(int, self.values)
        return int(value) > bound if self.operator == ">" else int(value) < bound


class Selector(NamedTuple):
    """Conjunction of requirements; without any, all labels match. `str()` is the text of the selector."""

    text: str = ""
    requirements: tuple[Requirement, ...] = ()

    def __str__(self) -> str:
        return self.text

    def matches(self, labels: Labels) -> bool:
        """Return whether the labels meet all requirements."""
        return all(each.matches(labels) for each in self.requirements)


def parse_selector(text: str) -> Selector:
    """Return the selector in a text such as `a=b,c!=d,e in (x,y),!f,g`.

    Raises:
        ValueError: the text is no selector; `str()` names what was found and what was expected.

    """
    tokens = _Tokens(text)
    requirements: list[Requirement] = []
    while tokens.next:
        requirements.append(_requirement(tokens))
        if tokens.next:
            tokens.take(",", "',' or the end")
            if not tokens.next:
                raise tokens.error("a label key after ','")
    return Selector(text, tuple(requirements))


def parse_labels(text: str) -> dict[str, str]:
    """Return the labels in `k=v[,k=v]`; spaces around keys and values are ignored.

    Raises:
        ValueError: there is no label, an item is no pair, or Kubernetes would refuse a key or value.

    """
    found: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or "=" in value:
            raise ValueError(f"{item.strip()!r} is not of the form key=value")
        found[_key(key)] = _value(value)
    return found


def format_labels(labels: Labels) -> str:
    """Return the selector text that demands exactly these labels."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


class _Tokens:
    """Tokens of a selector, and a position among them; `next` is empty at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text.lstrip())
        self._at = 0

    @property
    def next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *wanted: str) -> str:
        """Return the next token, which has to be `wanted[0]`; `wanted[-1]` describes it in the error."""
        if self.next != wanted[0]:
            raise self.error(wanted[-1])
        return self.advance()

    def advance(self) -> str:
        token = self.next
        self._at += 1
        return token

    def value(self) -> str:
        """Return the value that comes next, empty if there is none."""
        return _value("" if self.next in _PUNCTUATION else self.advance())

    def error(self, expected: str) -> ValueError:
        found = repr(self.next) if self.next else "the end"
        return ValueError(f"label selector {self._text!r}: found {found}, expected {expected}")


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.next == "!"
    if absent:
        tokens.advance()
    if tokens.next in _PUNCTUATION or tokens.next in ("", "in", "notin"):
        raise tokens.error("a label key")
    key = _key(tokens.advance())
    if absent:
        return Requirement(key, "!")
    if tokens.next in ("", ","):
        return Requirement(key, "exists")
    parse = _OPERATORS.get(tokens.next)
    if parse is None:
        raise tokens.error("an operator: one of = == != in notin < >")
    return parse(key, tokens.advance(), tokens)


def _equal(key: str, operator: str, tokens: _Tokens) -> Requirement:
    return Requirement(key, "notin" if operator == "!=" else "in", frozenset((tokens.value(),)))


def _member(key: str, operator: str, tokens: _Tokens) -> Requirement:
    tokens.take("(", "'('")
    values = {tokens.value()}
    while tokens.next == ",":
        tokens.advance()
        values.add(tokens.value())
    tokens.take(")", "',' or ')'")
    return Requirement(key, operator, frozenset(values))


def _order(key: str, operator: str, tokens: _Tokens) -> Requirement:
    if not _WHOLE_NUMBER.fullmatch(tokens.next):
        raise tokens.error("a whole number")
    return Requirement(key, operator, frozenset((tokens.advance(),)))


_OPERATORS: Mapping[str, Callable[[str, str, _Tokens], Requirement]] = {
    "=": _equal,
    "==": _equal,
    "!=": _equal,
    "in": _member,
    "notin": _member,
    "<": _order,
    ">": _order,
}


def _key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise ValueError(f"{text!r} is no label key: [dns.name/]name, where the name has at most 63 of A-Za-z0-9-_.")
    return text


def _value(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no label value: at most 63 of A-Za-z0-9-_. with a letter or digit at both ends")
    return text

"""Object of a JSON or YAML document whose fields are read with their types checked. Pure.

An absent field and one that is null count as empty. Errors name the path of the field; they never show its value, which
may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from konnectivity.untrusted.numbers import finite

_MOST = 2**63  # Kubernetes' integers have 64 bits
_KINDS = ((bool, "a boolean"), (int, "an integer"), (float, "a number"), (str, "a string"), (list, "a list"))


class JsonObject:
    """Fields of one object, and the path that leads to it.

    Args:
        value: the decoded object; None counts as an empty one.
        path: names the object in errors; empty for a whole document.

    Raises:
        ValueError: the value is something else than an object.

    """

    __slots__ = ("_path", "fields")

    def __init__(self, value: object, path: str = "") -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise ValueError(f"{path or 'document'}: expected an object, found {_kind(value)}")
        self.fields: Mapping[str, Any] = value
        self._path = path

    def __contains__(self, name: str) -> bool:
        """Return whether the field is there and not null."""
        return self.fields.get(name) is not None

    def text(self, name: str) -> str:
        """Return the string in a field; empty if it is absent."""
        return str(self._value(name, str, "a string") or "")

    def required_text(self, name: str) -> str:
        """Return the string in a field that has to be there."""
        if name not in self:
            raise ValueError(f"{self._at(name)} is missing")
        return self.text(name)

    def flag(self, name: str) -> bool:
        """Return the boolean in a field; False if it is absent."""
        return bool(self._value(name, bool, "a boolean"))

    def integer(self, name: str) -> int | None:
        """Return the integer of at most 64 bits in a field; None if it is absent."""
        value = self._value(name, int, "an integer")
        if value is None:
            return None
        if isinstance(value, bool) or not -_MOST <= value < _MOST:
            raise ValueError(f"{self._at(name)}: expected an integer of 64 bits")
        return int(value)

    def number(self, name: str) -> float | None:
        """Return the number in a field; None if it is absent or not finite."""
        value = self._value(name, (int, float), "a number")
        if isinstance(value, bool):
            raise ValueError(f"{self._at(name)}: expected a number, found a boolean")
        return None if value is None else finite(value)

    def object(self, name: str) -> JsonObject:
        """Return the object in a field; an empty one if it is absent."""
        return JsonObject(self.fields.get(name), self._at(name))

    def objects(self, name: str) -> list[JsonObject]:
        """Return the objects of the list in a field."""
        return [JsonObject(each, f"{self._at(name)}[{number}]") for number, each in enumerate(self._list(name))]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the strings of the list in a field."""
        found = self._list(name)
        for number, each in enumerate(found):
            if not isinstance(each, str):
                raise ValueError(f"{self._at(name)}[{number}]: expected a string, found {_kind(each)}")
        return tuple(found)

    def text_map(self, name: str) -> dict[str, str]:
        """Return the strings by name in the object in a field."""
        found = self.object(name)
        return {key: found.text(key) for key in found.fields}

    def _list(self, name: str) -> list[Any]:
        return list(self._value(name, list, "a list") or ())

    def _value(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{self._at(name)}: expected {expected}, found {_kind(value)}")
        return value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def decode(data: bytes) -> JsonObject:
    """Return the object that a JSON document is.

    Raises:
        ValueError: the document is malformed, nested too deeply, or no object.

    """
    try:
        return JsonObject(json.loads(data))
    except RecursionError as error:
        raise ValueError("document: nested too deeply") from error


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    return next((words for kind, words in _KINDS if isinstance(value, kind)), "null" if value is None else "a date")

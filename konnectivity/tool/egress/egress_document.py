"""Reader of a configuration, as strict as kube-apiserver, that keeps the line of every value. Pure.

kube-apiserver reads YAML 1.1 as Go's library does, or JSON if the file begins with a brace. Fields that it does not
know, repeated keys and values of another type are errors; a null counts as an absent value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LARGEST = 1 << 20
_DEEPEST_MERGE, _MOST_MERGES = 50, 1000
_NOT_STRINGS = {"tag:yaml.org,2002:int": "a number", "tag:yaml.org,2002:float": "a number"}
_NOT_STRINGS |= {"tag:yaml.org,2002:bool": "true or false"}
_NULL = "tag:yaml.org,2002:null"
_GO_BOOLEANS = {"y", "Y", "n", "N"}
_GO_INTEGER = re.compile(r"[-+]?0o[0-7]+")
_VERSION = re.compile(r"^%YAML\s+(?!1\.1\s*$)", re.MULTILINE)

TLS: Mapping[str, Any] = dict.fromkeys(("caBundle", "clientKey", "clientCert", "tlsServerName"), str)
TRANSPORT = {"tcp": {"url": str, "tlsConfig": TLS}, "uds": {"udsName": str}}
SELECTION = {"name": str, "connection": {"proxyProtocol": str, "transport": TRANSPORT}}
ROOT = {"apiVersion": str, "kind": str, "egressSelections": [SELECTION]}


@dataclass(frozen=True)
class Problem:
    """Error in a configuration, and its line (0 if the line is unknown)."""

    line: int
    text: str
    do: str


@dataclass
class Value:
    """Part of the file with its line: a string, a mapping or a list. A null or an absent value is None."""

    line: int
    text: str = ""
    fields: dict[str, Value | None] = field(default_factory=dict)
    items: list[Value | None] = field(default_factory=list)

    def get(self, *path: str) -> Value | None:
        """Return the value at a path, or None."""
        found: Value | None = self
        for name in path:
            found = found.fields.get(name) if found is not None else None
        return found

    def string(self, *path: str) -> str:
        found = self.get(*path)
        return found.text if found is not None else ""

    def line_of(self, *path: str) -> int:
        """Return the line of the deepest existing part of a path."""
        for length in range(len(path), 0, -1):
            if (found := self.get(*path[:length])) is not None:
                return found.line
        return self.line


def read(content: bytes) -> tuple[Value | None, list[Problem]]:
    """Return the file's content and every reason why kube-apiserver refuses it; None if nothing can be read."""
    try:
        node = _compose(content)
    except _BadFile as error:
        return None, [error.problem]
    if not isinstance(node, yaml.MappingNode):
        return None, [Problem(1, "is not an EgressSelectorConfiguration", "write one: `konnectivity egress-config`")]
    reader = _DocumentReader()
    return reader.mapping(node, ROOT, ""), reader.problems


class _BadFile(Exception):
    def __init__(self, line: int, text: str, do: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, text, do)


def _compose(content: bytes) -> yaml.Node | None:
    """Return the first document of the file: kube-apiserver ignores the others."""
    if len(content) > LARGEST:
        raise _BadFile(0, f"has {len(content)} bytes", f"no such file has more than {LARGEST}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _BadFile(0, f"is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from error
    if text.lstrip().startswith("{"):
        _check_json(text)
        text = text.replace("\t", " ")  # JSON allows tabs between its parts, YAML does not
    elif version := _VERSION.search(text):
        line = text.count("\n", 0, version.start()) + 1
        raise _BadFile(line, "kube-apiserver reads YAML 1.1 only", "remove the %YAML line")
    try:
        return next(iter(yaml.compose_all(text, Loader=yaml.SafeLoader)), None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _BadFile(mark.line + 1 if mark else 0, f"is not YAML: {error.problem}", "correct that line") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _BadFile(
            0, f"is not YAML: {(str(error) or 'nested too deeply').splitlines()[0]}", "correct it"
        ) from error


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        text = f"begins like JSON, and is none: {error.msg}"
        raise _BadFile(error.lineno, text, "correct that line, or write YAML without the outer braces") from error
    except RecursionError as error:
        raise _BadFile(0, "is nested too deeply", "correct it") from error


class _DocumentReader:
    """Converter of YAML nodes to values by a schema: `str`, a mapping of fields, or a list of one schema."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._depth = self._merges = 0

    def mapping(self, node: yaml.MappingNode, schema: Mapping[str, Any], path: str) -> Value:
        made = Value(node.start_mark.line + 1)
        for name, line, value in self._pairs(node, path):
            if name in made.fields:
                self._problem(line, f"{path}{name} is there twice", "remove one of the two")
            elif name not in schema:
                made.fields[name] = None
                self._problem(line, f"{path}{name} is not a field that kube-apiserver knows", _meant(name, schema))
            else:
                made.fields[name] = self._value(value, schema[name], f"{path}{name}", line)
        return made

    def _pairs(self, node: yaml.MappingNode, path: str) -> Iterator[tuple[str, int, yaml.Node]]:
        """Yield keys with their values, those of merged mappings (`<<`) included."""
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problem(line, f"a key below {path or 'the top'} is not a string", "write a field's name")
            elif key.tag == "tag:yaml.org,2002:merge":
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for each in merged:
                    yield from self._merged(each, path, line)
            else:
                yield key.value, line, value

    def _merged(self, node: yaml.Node, path: str, line: int) -> Iterator[tuple[str, int, yaml.Node]]:
        self._merges += 1
        if not isinstance(node, yaml.MappingNode) or self._depth > _DEEPEST_MERGE or self._merges > _MOST_MERGES:
            if self._merges <= _MOST_MERGES + 1:
                self._problem(line, "merges what is not a mapping, or far too much", "write the fields out")
            return
        self._depth += 1
        yield from self._pairs(node, path)
        self._depth -= 1

    def _value(self, node: yaml.Node, schema: Any, path: str, line: int) -> Value | None:
        if node.tag == _NULL:
            return None
        if schema is str:
            return self._string(node, path, line)
        if isinstance(schema, list):
            if isinstance(node, yaml.SequenceNode):
                each = schema[0]
                items = [
                    self._value(item, each, f"{path}[{number}]", item.start_mark.line + 1)
                    for number, item in enumerate(node.value)
                ]
                return Value(line, items=items)
            self._problem(line, f"{path} is not a list", "begin each entry with `- `")
        elif isinstance(node, yaml.MappingNode):
            made = self.mapping(node, schema, f"{path}.")
            made.line = line
            return made
        else:
            self._problem(line, f"{path} is not a mapping", f"give it fields: {', '.join(schema)}")
        return Value(line)

    def _string(self, node: yaml.Node, path: str, line: int) -> Value:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(line, f"{path} is not a string", "write a string")
            return Value(line)
        kind = _NOT_STRINGS.get(node.tag, "")
        if node.style is None:
            if node.value in _GO_BOOLEANS:
                kind = "true or false"
            elif ":" in node.value:  # a number in base 60, which Go does not know
                kind = ""
            elif _GO_INTEGER.fullmatch(node.value):
                kind = "a number"
        if kind:
            self._problem(line, f"{path} is {kind}, not a string", f"put it in quotes: {json.dumps(node.value)}")
        return Value(line, node.value)

    def _problem(self, line: int, text: str, do: str) -> None:
        self.problems.append(Problem(line, text, do))


def _meant(name: str, schema: Mapping[str, Any]) -> str:
    for known in schema:
        if known.lower() == name.lower():
            return f"write {known}"
    return f"there are {', '.join(schema)}"

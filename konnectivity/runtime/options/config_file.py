"""Reader of the file that `--config` names: a YAML mapping with names of flags as its keys.

Owns the mapping from keys to options. Values stay texts, so that YAML does not read `1:30` as a number in base 60, and
an id of `012` keeps its zero. PyYAML is imported only when there is a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from konnectivity.runtime.options.command_line import Given, nearest
from konnectivity.runtime.options.declarations import Option
from konnectivity.untrusted.file_content import read_any

MAX_BYTES = 1 << 20
_NOT_HERE = frozenset(("config", "check-config"))
_NULL = "tag:yaml.org,2002:null"


class ConfigFile:
    """Config file.

    Attributes:
        found: values by field.
        problems: error texts.

    """

    def __init__(self, options: Iterable[Option], path: str) -> None:
        self.found: dict[str, list[Given]] = {}
        self.problems: list[str] = []
        self._path = path
        self._options = {name: each for each in options for name in each.long_names if name not in _NOT_HERE}
        self._lines: dict[str, int] = {}

    def read(self) -> None:
        """Read the file, and fill `found` and `problems`."""
        try:
            root = _root(_content(self._path))
        except OSError as error:
            self.problems.append(f'cannot read config file "{self._path}": {error.strerror}')
        except ValueError as error:
            self.problems.append(f'config file "{self._path}" {error}')
        else:
            for key, value in root:
                self._entry(key, value)

    def _entry(self, key: Any, value: Any) -> None:
        line = key.start_mark.line + 1
        name = key.value.replace("_", "-") if key.id == "scalar" else ""
        option = self._options.get(name)
        if option is None:
            near = nearest(name, self._options)
            self._problem(line, f'unknown key "{name}"' + (f"; did you mean {near}?" if near else ""))
        elif name in self._lines:
            self._problem(line, f'key "{name}" is set in line {self._lines[name]} already')
        else:
            self._take(option, name, value, line)
        self._lines.setdefault(name, line)

    def _take(self, option: Option, name: str, value: Any, line: int) -> None:
        items = value.value if value.id == "sequence" and option.kind.appends else [value]
        if any(each.id != "scalar" for each in items):
            wanted = "a list of values" if option.kind.appends else f"one value ({option.metavar or option.kind.name})"
            self._problem(line, f'key "{name}" wants {wanted}')
            return
        where, source = f'"{name}" in line {line} of config file "{self._path}"', f"file, line {line}"
        if items is value.value:  # each item is one value, even with commas
            texts = [option.kind.write((each.value,)) for each in items] or [option.kind.write(())]
            self.found[option.field] = [Given(text, where, source) for text in texts]
        elif value.tag != _NULL:  # a key without a value leaves its option unset
            self.found[option.field] = [Given(value.value, where, source)]

    def _problem(self, line: int, what: str) -> None:
        self.problems.append(f'config file "{self._path}" line {line}: {what}')


def _content(path: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError, ValueError: as `read_any`.

    """
    return read_any(path, MAX_BYTES)


def _root(content: bytes) -> list[tuple[Any, Any]]:
    """Return the nodes of keys and values.

    Raises:
        ValueError: the content is no YAML mapping; the error names the line.

    """
    import yaml  # imported late: most programs have no such file

    try:
        root: Any = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1} " if mark else ""
        raise ValueError(f"{line}is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # not even text
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if root is None or root.tag == _NULL:
        return []
    if root.id != "mapping":
        raise ValueError("must hold `name: value` lines")
    pairs: list[tuple[Any, Any]] = root.value
    return pairs

"""Output of commands: a table for people, YAML or JSON for programs. Knows no command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from konnectivity.untrusted.untrusted_text import visible

TABLE, YAML, JSON = "table", "yaml", "json"
FORMATS = (TABLE, YAML, JSON)
_LONGEST_CELL = 8 * 1024  # characters


def add_to(parser: argparse.ArgumentParser, default: str = TABLE) -> None:
    """Declare the option `-o`. The command passes `arguments.output` to `show`."""
    parser.add_argument(
        "-o", "--output", choices=FORMATS, default=default, help="Output format (default: %(default)s)."
    )


def show(value: Any, output: str, columns: Sequence[str] = ()) -> None:
    """Print a JSON-compatible value. A table needs a sequence of mappings: one row each, with `columns` as its columns.

    YAML of a list of Kubernetes objects is what `kubectl apply -f -` takes: one document each.
    """
    sys.stdout.write({TABLE: _table, YAML: _yaml, JSON: _json}[output](value, columns))


def _json(value: Any, columns: Sequence[str]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _yaml(value: Any, columns: Sequence[str]) -> str:
    import yaml  # imported late: other commands start faster without it

    if isinstance(value, list) and all(isinstance(each, dict) and "kind" in each for each in value):
        return str(yaml.safe_dump_all(value, sort_keys=False, explicit_start=True))
    return str(yaml.safe_dump(value, sort_keys=False))


def _table(value: Any, columns: Sequence[str]) -> str:
    rows: Sequence[Mapping[str, Any]] = [value] if isinstance(value, Mapping) else value
    names = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    cells = [_heads(names), *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "".join(f"{line}\n" for line in lines)


def _heads(names: Sequence[str]) -> list[str]:
    """Return column heads for keys: `not_after` becomes `NOT AFTER`."""
    return [name.replace("_", " ").upper() for name in names]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return visible(",".join(map(str, value)) or "-", _LONGEST_CELL)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else visible(str(value), _LONGEST_CELL)


def complain(command: str, problem: object) -> None:
    """Print on stderr, in one line, why `konnectivity <command>` fails."""
    print(f"konnectivity {command}: {visible(str(problem), _LONGEST_CELL)}", file=sys.stderr)

"""Findings of the checking commands, in one form for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

ERROR = "error"  # does not work
WARNING = "warning"  # works today, but needs an action
NOTE = "note"  # works; good to know
COLUMNS = ("where", "result", "finding", "do")


class Finding(NamedTuple):
    """Fault that a person can act on."""

    where: str  # a file, or file:line
    result: str  # ERROR, WARNING or NOTE
    finding: str
    do: str = ""

    def row(self) -> dict[str, str | None]:
        return {"where": self.where, "result": self.result, "finding": self.finding, "do": self.do or None}


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if a finding calls for an action, else 0."""
    return int(any(each.result in (ERROR, WARNING) for each in findings))

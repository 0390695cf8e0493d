"""What became of checks: what was looked at, how it is, and what a person may do about it. Pure; checks nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import asdict, dataclass

COLUMNS = ("status", "check", "where", "what")


class Status(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and may not for long, or not as one thinks
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be looked at, because of another result or for want of something


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a diagnosis. `check` names the kind, and is the same from release to release."""

    check: str
    status: Status
    where: str
    what: str
    do: str = ""


def ok(check: str, where: str, what: str) -> Result:
    return Result(check, Status.OK, where, what)


def warning(check: str, where: str, what: str, do: str) -> Result:
    return Result(check, Status.WARNING, where, what, do)


def failed(check: str, where: str, what: str, do: str) -> Result:
    return Result(check, Status.FAILED, where, what, do)


def skipped(check: str, where: str, because: str, do: str = "") -> Result:
    return Result(check, Status.SKIPPED, where, because, do)


def any_failed(findings: Iterable[Result]) -> bool:
    return any(each.status is Status.FAILED for each in findings)


def rows(findings: Iterable[Result]) -> list[dict[str, str]]:
    """For a table or a program."""
    return [{**asdict(each), "status": each.status.value} for each in findings]


def to_do(findings: Iterable[Result]) -> list[str]:
    """What there is to be done, the urgent first, each once."""
    places: dict[tuple[Status, str, str], list[str]] = {}
    for each in findings:
        if each.do:
            places.setdefault((each.status, each.check, each.do), []).append(each.where)
    wanted = sorted(places.items(), key=lambda item: _ORDER.index(item[0][0]))
    return [f"{check} ({status}; {', '.join(dict.fromkeys(where))}): {do}" for (status, check, do), where in wanted]


_ORDER = (Status.FAILED, Status.WARNING, Status.SKIPPED, Status.OK)

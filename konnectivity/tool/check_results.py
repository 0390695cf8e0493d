"""Results of the doctor's checks: the subject, the status, and what a person can do. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import asdict, dataclass

COLUMNS = ("status", "check", "where", "what")


class CheckStatus(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, but may fail soon or differ from the expectation
    FAILED = "failed"
    SKIPPED = "skipped"  # not checked, because of another result or a missing input


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check. `check` names the kind of check and is stable across releases."""

    check: str
    status: CheckStatus
    where: str
    what: str
    do: str = ""


def ok(check: str, where: str, what: str) -> CheckResult:
    return CheckResult(check, CheckStatus.OK, where, what)


def warning(check: str, where: str, what: str, do: str) -> CheckResult:
    return CheckResult(check, CheckStatus.WARNING, where, what, do)


def failed(check: str, where: str, what: str, do: str) -> CheckResult:
    return CheckResult(check, CheckStatus.FAILED, where, what, do)


def skipped(check: str, where: str, because: str, do: str = "") -> CheckResult:
    return CheckResult(check, CheckStatus.SKIPPED, where, because, do)


def any_failed(findings: Iterable[CheckResult]) -> bool:
    return any(each.status is CheckStatus.FAILED for each in findings)


def rows(findings: Iterable[CheckResult]) -> list[dict[str, str]]:
    """Return the results as rows for a table or a program."""
    return [{**asdict(each), "status": each.status.value} for each in findings]


def to_do(findings: Iterable[CheckResult]) -> list[str]:
    """Return what there is to do: most urgent first, without repetition."""
    places: dict[tuple[CheckStatus, str, str], list[str]] = {}
    for each in findings:
        if each.do:
            places.setdefault((each.status, each.check, each.do), []).append(each.where)
    wanted = sorted(places.items(), key=lambda item: _ORDER.index(item[0][0]))
    return [f"{check} ({status}; {', '.join(dict.fromkeys(where))}): {do}" for (status, check, do), where in wanted]


_ORDER = (CheckStatus.FAILED, CheckStatus.WARNING, CheckStatus.SKIPPED, CheckStatus.OK)

"""What became of checks: what was looked at, how it is, and what a person may do about it. Pure; checks nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import asdict, dataclass

COLUMNS = ("status", "check", "where", "what")


class CheckStatus(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and may not for long, or not as one thinks
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be looked at, because of another result or for want of something


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of a diagnosis. `check` names the kind, and is the same from release to release."""

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
    """For a table or a program."""
    return [{**asdict(each), "status": each.status.value} for each in findings]


def to_do(findings: Iterable[CheckResult]) -> list[str]:
    """What there is to be done, the urgent first, each once."""
    places: dict[tuple[CheckStatus, str, str], list[str]] = {}
    for each in findings:
        if each.do:
            places.setdefault((each.status, each.check, each.do), []).append(each.where)
    wanted = sorted(places.items(), key=lambda item: _ORDER.index(item[0][0]))
    return [f"{check} ({status}; {', '.join(dict.fromkeys(where))}): {do}" for (status, check, do), where in wanted]


_ORDER = (CheckStatus.FAILED, CheckStatus.WARNING, CheckStatus.SKIPPED, CheckStatus.OK)

"""Judges certificates, keys and bundles on disk, by the rules of `konnectivity pki --check`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from konnectivity.diagnosis import Result, Status, failed, ok, warning
from konnectivity.file_content import read_any
from konnectivity.finding import ERROR, NOTE, Finding
from konnectivity.pki import check


def results_of(name: str, findings: Iterable[Finding]) -> list[Result]:
    """Findings of another command as results of a check."""
    statuses = {ERROR: Status.FAILED, NOTE: Status.OK}
    return [
        Result(name, statuses.get(each.result, Status.WARNING), each.where, each.finding, each.do) for each in findings
    ]


def pair(
    name: str, certificate: str, key: str, role: str, clock: check.Clock, wanted: Sequence[str] = ()
) -> list[Result]:
    """A certificate with its key."""
    try:
        subject = check.Subject(_read(certificate), role, _read(key), wanted=tuple(wanted))
    except OSError as error:
        return [_unreadable(name, error)]
    return results_of(name, check.check(subject, clock)) or [ok(name, certificate, check.summary(subject, clock))]


def bundle(name: str, path: str, clock: check.Clock) -> list[Result]:
    """A CA bundle."""
    try:
        subject = check.Subject(_read(path), check.CA)
    except OSError as error:
        return [_unreadable(name, error)]
    findings = check.check(subject, clock)
    if findings and _trusted_as_it_stands(findings):
        return [warning(name, path, each.finding, each.do) for each in findings]
    return results_of(name, findings) or [ok(name, path, check.summary(subject, clock))]


def _trusted_as_it_stands(findings: Sequence[Finding]) -> bool:
    """A bundle may hold the other side's own certificate, which is no CA."""
    return all(each.finding.startswith("is no CA") for each in findings)


def _read(path: str) -> check.File:
    return check.File(path, read_any(path))


def _unreadable(name: str, error: OSError) -> Result:
    do = "check the path, the mounts, and who may read it"
    return failed(name, str(error.filename), f"cannot be read: {error.strerror}", do)

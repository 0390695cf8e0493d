"""Checks of certificates, keys and bundles on disk, by the rules of `konnectivity pki --check`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from konnectivity.tool.check_results import CheckResult, CheckStatus, failed, ok, warning
from konnectivity.tool.findings import ERROR, NOTE, Finding
from konnectivity.tool.pki import certificate_check
from konnectivity.untrusted.file_content import read_any


def results_of(name: str, findings: Iterable[Finding]) -> list[CheckResult]:
    """Return findings of another command as results of a check."""
    statuses = {ERROR: CheckStatus.FAILED, NOTE: CheckStatus.OK}
    return [
        CheckResult(name, statuses.get(each.result, CheckStatus.WARNING), each.where, each.finding, each.do)
        for each in findings
    ]


def pair(
    name: str, certificate: str, key: str, role: str, clock: certificate_check.Clock, wanted: Sequence[str] = ()
) -> list[CheckResult]:
    """Check a certificate with its key."""
    try:
        subject = certificate_check.Subject(_read(certificate), role, _read(key), wanted=tuple(wanted))
    except OSError as error:
        return [_unreadable(name, error)]
    return results_of(name, certificate_check.check(subject, clock)) or [
        ok(name, certificate, certificate_check.summary(subject, clock))
    ]


def pair_of_authority(
    name: str, certificate: str, key: str, authority: str, role: str, clock: certificate_check.Clock
) -> list[CheckResult]:
    """Check a certificate with its key, which an authority in a bundle must have issued."""
    try:
        subject = certificate_check.Subject(_read(certificate), role, _read(key), (_read(authority),))
    except OSError as error:
        return [_unreadable(name, error)]
    return results_of(name, certificate_check.check(subject, clock)) or [
        ok(name, certificate, f"comes from {authority}")
    ]


def bundle(name: str, path: str, clock: certificate_check.Clock) -> list[CheckResult]:
    """Check a CA bundle."""
    try:
        subject = certificate_check.Subject(_read(path), certificate_check.CA)
    except OSError as error:
        return [_unreadable(name, error)]
    findings = certificate_check.check(subject, clock)
    if findings and _trusted_as_it_stands(findings):
        return [warning(name, path, each.finding, each.do) for each in findings]
    return results_of(name, findings) or [ok(name, path, certificate_check.summary(subject, clock))]


def _trusted_as_it_stands(findings: Sequence[Finding]) -> bool:
    """Return whether a bundle holds the other side's own certificate, which is not a CA."""
    return all(each.finding.startswith("is not a CA") for each in findings)


def _read(path: str) -> certificate_check.File:
    return certificate_check.File(path, read_any(path))


def _unreadable(name: str, error: OSError) -> CheckResult:
    do = "check the path, the mounts, and who may read it"
    return failed(name, str(error.filename), f"cannot be read: {error.strerror}", do)

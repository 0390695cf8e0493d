"""Command `konnectivity kubeconfig --check`: reports errors in kubeconfigs, and rights beyond a server's needs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from konnectivity.tool.cli import output
from konnectivity.tool.findings import COLUMNS, ERROR, NOTE, WARNING, Finding, exit_code
from konnectivity.tool.pki import certificate_check

if TYPE_CHECKING:
    from konnectivity.kube.api_access import Access, Material

_OPEN_TO_ALL = 0o004


def run(arguments: argparse.Namespace) -> int:
    """Check the files and return 0 without findings, 1 with findings, 2 if no file could be checked."""
    clock = certificate_check.Clock(datetime.now(UTC), arguments.warn_days)
    rows, findings = [], []
    for path in arguments.files or [arguments.file]:
        found = list(_check(path, clock))
        findings += found
        rows += [each.row() for each in found]
        if not any(each.result != NOTE for each in found):
            rows.append(Finding(path, "ok", "nothing is wrong with it").row())
    output.show(rows, arguments.output, COLUMNS)
    return exit_code(findings)


def _check(path: str, clock: certificate_check.Clock) -> Iterator[Finding]:
    from konnectivity.kube.api_error import KubeError
    from konnectivity.kube.kubeconfig_files import current_access

    try:
        access = current_access([path])
    except KubeError as error:
        yield Finding(path, ERROR, str(error), "write it anew: `konnectivity kubeconfig`")
        return
    yield from _cluster(path, access, clock)
    yield from _user(path, access, clock)
    if Path(path).stat().st_mode & _OPEN_TO_ALL and (access.key is not None or access.token):
        yield Finding(path, NOTE, "everybody on this machine may read it", f"chmod 600 {path}")


def _cluster(path: str, access: Access, clock: certificate_check.Clock) -> Iterator[Finding]:
    if access.insecure:
        text = "insecure-skip-tls-verify: whoever is in between can read the credential"
        yield Finding(path, ERROR, text, "give certificate-authority-data instead")
    if access.server.startswith("http://"):
        yield Finding(path, ERROR, f"{access.server} has no TLS", "use https://")
    if (file := _read(path, access.ca)) is None:
        return
    if isinstance(file, Finding):
        yield file
        return
    yield from certificate_check.check(certificate_check.Subject(file, certificate_check.CA), clock)


def _user(path: str, access: Access, clock: certificate_check.Clock) -> Iterator[Finding]:
    if not any((access.certificate, access.token, access.token_file, access.plugin, access.basic)):
        yield Finding(path, ERROR, "the user has no credential", "write it anew: `konnectivity kubeconfig`")
    if access.token_file and not os.path.exists(access.token_file):
        yield Finding(path, WARNING, f"there is no token at {access.token_file} on this machine", "put it there")
    certificate, key = _read(path, access.certificate), _read(path, access.key)
    for each in (certificate, key):
        if isinstance(each, Finding):
            yield each
    if isinstance(certificate, certificate_check.File) and isinstance(key, certificate_check.File):
        yield from certificate_check.check(certificate_check.Subject(certificate, "client", key), clock)


def _read(path: str, material: Material | None) -> certificate_check.File | Finding | None:
    from konnectivity.kube.api_error import KubeError

    if material is None:
        return None
    try:
        return certificate_check.File(
            material.path or f"{path} ({material.what.partition(' of ')[0]})", material.read()
        )
    except KubeError as error:
        return Finding(path, ERROR, str(error), "put the file there")

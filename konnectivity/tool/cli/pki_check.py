"""Command `konnectivity pki --check`: finds certificates, their purpose, key and CA, and reports what is wrong."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from konnectivity.tool.cli import output, pki_arguments
from konnectivity.tool.findings import COLUMNS, Finding, exit_code
from konnectivity.tool.pki import certificate_check, certificate_parsing, roles
from konnectivity.tool.pki.issuance import PkiError, read

_LARGEST = 1 << 20  # bytes of a file; a bundle of all public CAs has a quarter of that


def run(arguments: argparse.Namespace) -> int:
    """Check the files and return 0 without findings, 1 with findings, 2 without files to check."""
    clock = certificate_check.Clock(datetime.now(UTC), arguments.warn_days)
    paths = [Path(file) for file in arguments.files] or _in_directory(Path(arguments.directory or "pki"))
    if arguments.key and len(paths) != 1:
        raise PkiError("--key belongs to one FILE")
    rows, findings = [], []
    for path in paths:
        subject = _subject(path, arguments)
        found = certificate_check.check(subject, clock)
        findings += found
        rows += [each.row() for each in found] or [
            Finding(str(path), "ok", certificate_check.summary(subject, clock)).row(),
        ]
    output.show(rows, arguments.output, COLUMNS)
    return exit_code(findings)


def _in_directory(directory: Path) -> list[Path]:
    try:
        found = sorted(directory.glob("*.crt"))
    except OSError as error:
        raise PkiError(f"cannot read {directory}: {error.strerror}") from error
    if not found:
        raise PkiError(f"there is no .crt file in {directory}; give FILEs, or another --directory")
    return found


def _subject(path: Path, arguments: argparse.Namespace) -> certificate_check.Subject:
    content = _read(path).content
    role = arguments.role or _role(path)
    if arguments.key:
        key: certificate_check.File | None = _read(Path(arguments.key))
    else:
        key = _key_beside(path, content)
    bundles = () if role == certificate_check.CA else tuple(_bundles(path, role, arguments))
    return certificate_check.Subject(
        certificate_check.File(str(path), content), role, key, bundles, _names(content, role, arguments)
    )


def _role(path: Path) -> str:
    if path.stem in roles.LEAVES:
        return path.stem
    return certificate_check.CA if path.stem in roles.AUTHORITIES else ""


def _names(content: bytes, role: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the names that the certificate must have; without a role, a server certificate counts as role "server"."""
    if not role:
        try:
            found = certificate_parsing.certificates(content)[0]
        except ValueError:
            return ()
        role = "server" if roles.SERVER_AUTH in certificate_parsing.usages(found) else ""
    if role not in roles.LEAVES:
        return ()
    names = pki_arguments.given_names(arguments, role)
    return (*names.dns, *names.ips)


def _key_beside(path: Path, content: bytes) -> certificate_check.File | None:
    """Return the private key in the certificate's file, or else in the file beside it."""
    if b"PRIVATE KEY-----" in content:
        return certificate_check.File(str(path), content)
    for name in (f"{path.stem}.key", f"{path.stem}-key.pem", f"{path.stem}.key.pem"):
        if os.path.exists(beside := path.with_name(name)):
            return _read(beside)
    return None


def _bundles(path: Path, role: str, arguments: argparse.Namespace) -> list[certificate_check.File]:
    """Return the CA that was given, or else that of the role, or else every CA file beside the certificate."""
    edge = roles.LEAVES[role].authority if role else roles.AGENTS_CA
    given = getattr(arguments, f"{edge.replace('-', '_')}_cert")
    if given or arguments.ca_cert:
        return [_read(Path(given or arguments.ca_cert))]
    own = path.with_name(f"{edge}.crt")
    if role and os.path.exists(own):
        return [_read(own)]
    return [_read(each) for each in sorted(path.parent.glob("*ca.crt")) if each != path]


def _read(path: Path) -> certificate_check.File:
    content = read(path)
    if len(content) > _LARGEST:
        raise PkiError(f"{path} has {len(content)} bytes; no certificate file has more than {_LARGEST}")
    return certificate_check.File(str(path), content)

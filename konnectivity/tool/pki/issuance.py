"""Issuance of the wanted certificates, in memory and then as files. Existing files are replaced only on request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from konnectivity.runtime import atomic_file
from konnectivity.tool.pki import certificate_parsing, private_keys
from konnectivity.tool.pki.authority import TEN_YEARS, Authority, CertificateIdentity
from konnectivity.tool.pki.roles import CLIENT_AUTH, SERVER_AUTH, Role
from konnectivity.untrusted.file_content import read_any

_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)
LONGEST_COMMON_NAME = 64


class PkiError(Exception):
    """Request that cannot be fulfilled; `str()` gives the reason and what to do."""


@dataclass(frozen=True)
class Names:
    """Subject alternative names."""

    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str], uris: Sequence[str] = ()) -> Names:
        """Sort host names and addresses into their kinds.

        Raises:
            PkiError: a text is neither a host name nor an address.

        """
        dns, ips = [], []
        for text in texts:
            host = text.removeprefix("[").removesuffix("]").removesuffix(".")
            try:
                ips.append(str(ip_address(host)))
            except ValueError:
                if not _NAME.fullmatch(host) or len(host) > 253 or re.fullmatch(r"[0-9.]+", host):
                    raise PkiError(f"{text!r} is neither a host name nor an IP address (no scheme, no port)") from None
                dns.append(host.lower())
        return cls(*(tuple(dict.fromkeys(each)) for each in (dns, ips, uris)))

    def __bool__(self) -> bool:
        return bool(self.dns or self.ips or self.uris)


@dataclass(frozen=True)
class Leaf:
    """Leaf certificate to issue."""

    role: Role
    stem: str
    common_name: str
    names: Names = field(default_factory=Names)


@dataclass(frozen=True)
class Made:
    """Certificate that was issued, or CA that was used."""

    stem: str
    certificate: x509.Certificate
    cert_pem: bytes
    key_pem: bytes | None  # key of an existing CA, which is never written
    role: Role | None  # None: a CA


def authority(certificate_path: Path, key_path: Path) -> Authority:
    """Return an existing authority.

    Raises:
        PkiError: the certificate and key cannot issue certificates.

    """
    found = read_certificates(certificate_path)[0]
    try:
        key = certificate_parsing.private_key(read(key_path))
    except ValueError as error:
        raise PkiError(f"cannot use {key_path}: {error}") from error
    if not certificate_parsing.is_pair(found.public_key(), key):
        raise PkiError(f"the key {key_path} does not belong to {certificate_path}")
    if not certificate_parsing.is_authority(found):
        raise PkiError(f"{certificate_path} is not a CA: its basic constraints do not say so")
    if found.not_valid_after_utc <= datetime.now(UTC):
        raise PkiError(f"the CA {certificate_path} expired on {found.not_valid_after_utc:%Y-%m-%d}")
    return Authority(found, cast("CertificateIssuerPrivateKeyTypes", key))


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a file.

    Raises:
        PkiError: the file cannot be read, or has no certificate.

    """
    try:
        return certificate_parsing.certificates(read(path))
    except ValueError as error:
        raise PkiError(f"cannot use {path}: {error}") from error


def read(path: Path) -> bytes:
    try:
        return read_any(path)
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from error


def names_of(path: Path) -> tuple[str, Names]:
    """Return common name and subject alternative names of a certificate to renew; raises as `read_certificates`."""
    found = read_certificates(path)[0]
    there = certificate_parsing.alternative_names(found)
    kinds = (tuple(value for kind, value in there if kind == wanted) for wanted in ("DNS", "IP", "URI"))
    return certificate_parsing.user(found), Names(*kinds)


def new_authority(stem: str, valid_for: timedelta, key_type: str) -> Authority:
    return Authority.create(f"konnectivity-{stem}", max(valid_for, TEN_YEARS), key_type)


def issue(leaf: Leaf, issuer: Authority, valid_for: timedelta, key_type: str) -> Made:
    """Issue one certificate with a new key."""
    identity: CertificateIdentity = issuer.issue(
        leaf.common_name,
        dns=leaf.names.dns,
        ips=leaf.names.ips,
        uris=leaf.names.uris,
        server=SERVER_AUTH in leaf.role.usages,
        client=CLIENT_AUTH in leaf.role.usages,
        valid_for=valid_for,
        key_type=key_type,
    )
    found = certificate_parsing.certificates(identity.cert_pem)[0]
    return Made(leaf.stem, found, identity.cert_pem, identity.key_pem, leaf.role)


def made_authority(stem: str, used: Authority, is_new: bool) -> Made:
    """Return the CA as a result; the key of an existing CA is left out, since it is not written again."""
    key_pem = private_keys.to_pem(used.key) if is_new else None
    return Made(stem, used.certificate, used.certificate_pem, key_pem, None)


def write(made: Sequence[Made], directory: Path) -> Mapping[str, Path]:
    """Write certificates (0644) and keys (0600), and return the certificates' paths by file stem.

    Raises:
        PkiError: the directory cannot be written to.

    """
    paths = {}
    try:
        for each in made:
            paths[each.stem] = directory / f"{each.stem}.crt"
            if each.key_pem is not None:
                atomic_file.write(directory / f"{each.stem}.key", each.key_pem, atomic_file.PRIVATE)
            elif os.path.exists(paths[each.stem]):  # a CA that is kept, perhaps in a bundle with others
                continue
            atomic_file.write(paths[each.stem], each.cert_pem, atomic_file.PUBLIC)
    except OSError as error:
        raise PkiError(f"cannot write {error.filename}: {error.strerror}") from error
    return paths

"""Certificate authority, new or existing, that issues certificates.

Owns the content of certificates. Does not know their holders, where files are, or how TLS uses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificateIssuerPublicKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from konnectivity.runtime import atomic_file
from konnectivity.tool.pki import key_types, private_keys

TEN_YEARS = timedelta(days=3650)
_DAY = timedelta(days=1)
_BACKDATED = timedelta(hours=1)  # clocks of the two sides may differ


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """Certificate with its private key."""

    cert_pem: bytes  # followed by the intermediate certificates up to the trusted CA, if any
    key_pem: bytes

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write `stem`.crt and `stem`.key (mode 0600), replacing existing files, and return their paths."""
        key = atomic_file.write(directory / f"{stem}.key", self.key_pem, atomic_file.PRIVATE)
        return atomic_file.write(directory / f"{stem}.crt", self.cert_pem, atomic_file.PUBLIC), key


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificate authority. Its key leaves memory only if the caller writes it."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @classmethod
    def create(cls, name: str, valid_for: timedelta = TEN_YEARS, key_type: str = key_types.DEFAULT) -> Authority:
        """Return a new self-signed authority."""
        key = private_keys.new(key_type)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        end = datetime.now(UTC) + valid_for
        builder = _builder(_name(name), _name(name), key.public_key(), identifier, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        return cls(builder.sign(key, private_keys.signing_hash(key)), key)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def is_root(self) -> bool:
        return self.certificate.issuer == self.certificate.subject

    def issue(
        self,
        common_name: str,
        *,
        dns: Iterable[str] = (),
        ips: Iterable[str] = (),
        uris: Iterable[str] = (),
        organization: str = "",
        server: bool = False,
        client: bool = False,
        valid_for: timedelta = _DAY,
        key_type: str = key_types.DEFAULT,
    ) -> CertificateIdentity:
        """Issue a certificate for `server` or `client` use, or for both, as peer servers have it.

        The certificate ends with the authority at the latest. A negative `valid_for` gives an expired certificate.
        """
        if not server and not client:
            raise ValueError(f"certificate for {common_name}: pass server=True, client=True, or both")
        key = private_keys.new(key_type)
        end = min(datetime.now(UTC) + valid_for, self.certificate.not_valid_after_utc)
        subject, issuer = _name(common_name, organization), self.certificate.subject
        builder = _builder(subject, issuer, key.public_key(), self._identifier(), end)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ip_address(ip)) for ip in ips]
        names += [x509.UniformResourceIdentifier(uri) for uri in uris]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self.key, private_keys.signing_hash(self.key)).public_bytes(serialization.Encoding.PEM)
        return CertificateIdentity(signed if self.is_root else signed + self.certificate_pem, private_keys.to_pem(key))

    def write(self, directory: Path) -> Path:
        """Write the certificate as ca.crt, and return the path."""
        return atomic_file.write(directory / "ca.crt", self.certificate_pem, atomic_file.PUBLIC)

    def _identifier(self) -> x509.SubjectKeyIdentifier:
        """Return the authority's key identifier as its certificate states it."""
        try:
            return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())


def _name(common_name: str, organization: str = "") -> x509.Name:
    named = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*named, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificateIssuerPublicKeyTypes,
    issuer_identifier: x509.SubjectKeyIdentifier,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), end) - _BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

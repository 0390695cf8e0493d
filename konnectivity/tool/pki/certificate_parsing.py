"""Parsers of certificates and keys in files, with errors that say what the file contains instead. Pure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from konnectivity.net.error_texts import words_of
from konnectivity.tls import pem, x509_fields
from konnectivity.tool.pki.roles import CLIENT_AUTH, SERVER_AUTH

Kind = TypeVar("Kind", bound=x509.ExtensionType)

_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH: CLIENT_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.OCSP_SIGNING: "ocspSigning",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
}

_PARSE_ERROR = re.compile(r"ParseError \{ kind: (\w+).*")  # the library's text for an ASN.1 error


def certificates(content: bytes) -> list[x509.Certificate]:
    """Return all certificates of a PEM file, in order.

    Raises:
        ValueError: the file has no certificate, or a malformed one.

    """
    found = []
    for number, der in enumerate(x509_fields.chain(content), 1):
        try:
            found.append(_load(der))
        except ValueError as error:
            raise ValueError(f"certificate {number} is malformed: {first_line(error)}") from error
    if not found:
        raise ValueError(f"holds no certificate: {_what_it_is(content)}")
    return found


def private_key(content: bytes) -> PrivateKeyTypes:
    """Return the first private key of a PEM file.

    Raises:
        ValueError: the file has no private key, or an unusable one.

    """
    blocks = [block for block in pem.blocks(content) if block.label.endswith("PRIVATE KEY")]
    if not blocks:
        raise ValueError(f"holds no private key: {_what_it_is(content)}")
    if blocks[0].headers or blocks[0].label.startswith("ENCRYPTED"):
        raise ValueError("the key has a password, which nobody is there to type")
    lines = content.splitlines(keepends=True)[blocks[0].line - 1 :]
    try:
        return load_pem_private_key(b"".join(lines), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"line {blocks[0].line}: the key is malformed: {first_line(error)}") from error


def is_pair(public: PublicKeyTypes, key: PrivateKeyTypes) -> bool:
    """Return whether a certificate's public key and a private key belong together."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form) == key.public_key().public_bytes(*form)


def is_authority(found: x509.Certificate) -> bool:
    constraints = extension(found, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def usages(found: x509.Certificate) -> list[str]:
    """Return the extended key usages by OpenSSL's names; an empty list allows every use."""
    extended = extension(found, x509.ExtendedKeyUsage)
    return [_USAGES.get(oid, oid.dotted_string) for oid in extended or ()]


def names(found: x509.Certificate) -> list[str]:
    """Return the subject alternative names, as `DNS:a`, `IP:10.0.0.1`, `URI:...`."""
    return [f"{kind}:{value}" for kind, value in alternative_names(found)]


def alternative_names(found: x509.Certificate) -> Sequence[tuple[str, str]]:
    alternatives = extension(found, x509.SubjectAlternativeName)
    kinds: dict[type[x509.GeneralName], str] = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
    }
    return [(kinds.get(type(each), "other"), str(each.value)) for each in alternatives or ()]


def subject(found: x509.Certificate) -> str:
    return found.subject.rfc4514_string() or "(empty)"


def serial_number(found: x509.Certificate) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warning about a serial number that is not positive
        return found.serial_number


def groups(found: x509.Certificate) -> list[str]:
    """Return the organizations of the subject, which Kubernetes takes as the user's groups."""
    return [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def user(found: x509.Certificate) -> str:
    """Return the common name, which Kubernetes takes as the user."""
    found_names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found_names[0].value) if found_names else ""


def extension(found: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def first_line(error: Exception) -> str:
    line = words_of(error).splitlines()[0].rstrip(".")
    return _PARSE_ERROR.sub(lambda found: re.sub("(?<!^)(?=[A-Z])", " ", found[1]).lower(), line)


def _load(der: bytes) -> x509.Certificate:
    """Return a certificate parsed whole; the library alone parses its parts on first access."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about oddities that are harmless or that `check` reports
            found = x509.load_der_x509_certificate(der)
            _ = (found.extensions, found.subject, found.issuer, found.not_valid_after_utc, found.public_key())
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    return found


def _what_it_is(content: bytes) -> str:
    if not content.strip():
        return "it is empty"
    if content[:1] == b"\x30":
        return "it is DER or PKCS #12, not PEM; `openssl x509 -inform DER` or `openssl pkcs12` convert it"
    labels = list(dict.fromkeys(block.label for block in pem.blocks(content)))
    return f"it holds {', '.join(labels)}" if labels else "it is not a PEM file"

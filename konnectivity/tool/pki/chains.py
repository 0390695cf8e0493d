"""Check of certificate chains against a CA bundle, by the rules of Go and of `konnectivity.tls`. Pure.

Every certificate of the bundle is trusted, an intermediate one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from konnectivity.tool.pki import certificate_parsing

_LONGEST = 8


def broken(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
    now: datetime,
) -> str:
    """Return why the leaf has no chain to a trusted certificate, or "" if it has one."""
    current, length = leaf, 0
    while length < _LONGEST:
        if current in trusted:
            return ""
        if reasons := [_unusable(each, length, now) for each in trusted if _issued(each, current)]:
            return min(reasons)  # the empty reason (a valid chain) if there is one
        following = [each for each in between if each != current and _issued(each, current)]
        if not following:
            return _nobody(current, trusted)
        if why := _unusable(following[0], length, now):
            return why
        current, length = following[0], length + 1
    return f"there are more than {_LONGEST} certificates between it and the CA"


def _issued(issuer: x509.Certificate, found: x509.Certificate) -> bool:
    return _signed(issuer, found) and _identified(issuer, found)


def _identified(issuer: x509.Certificate, found: x509.Certificate) -> bool:
    """Return whether the key identifiers match, if both are present: OpenSSL requires it of an issuer, Go does not."""
    named, own = (
        certificate_parsing.extension(found, x509.AuthorityKeyIdentifier),
        certificate_parsing.extension(issuer, x509.SubjectKeyIdentifier),
    )
    return named is None or own is None or named.key_identifier in (None, own.digest)


def _signed(issuer: x509.Certificate, found: x509.Certificate) -> bool:
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _unusable(issuer: x509.Certificate, below: int, now: datetime) -> str:
    """Return why a certificate cannot issue another one with `below` certificates under it, or ""."""
    name = f"the CA {certificate_parsing.subject(issuer)!r}"
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        expired = now > issuer.not_valid_after_utc
        return f"{name} has expired" if expired else f"{name} is not valid yet"
    constraints = certificate_parsing.extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return f"{name} is not a CA: its basic constraints do not say so"
    if constraints.path_length is not None and below > constraints.path_length:
        return f"{name} allows {constraints.path_length} CAs below it, and there are {below}"
    usage = certificate_parsing.extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return f"{name} may not sign certificates, by its key usage"
    return ""


def _nobody(found: x509.Certificate, trusted: Sequence[x509.Certificate]) -> str:
    issuer = found.issuer.rfc4514_string()
    if any(_signed(each, found) for each in trusted):
        return f"its authority key identifier is not that of {issuer!r}, and OpenSSL looks for it"
    if any(each.subject == found.issuer for each in trusted):
        return f"it was signed by another CA of the same name, {issuer!r}"
    there = ", ".join(repr(certificate_parsing.subject(each)) for each in trusted)
    return f"it was issued by {issuer!r}, and the CA bundle has {there}"

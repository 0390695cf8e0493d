"""Check of a certificate, its key and its chain, with findings that say what to do. Pure: contents and time come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from konnectivity.tool.findings import ERROR, NOTE, WARNING, Finding
from konnectivity.tool.pki import certificate_parsing, chains
from konnectivity.tool.pki.roles import CLIENT_AUTH, LEAVES, SERVER_AUTH

CA = "ca"
MASTERS = "system:masters"
SMALLEST_RSA = 2048
_RENEW = "renew it: `konnectivity pki --renew`"
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True)
class File:
    """Content of a file, with its path."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Subject:
    """Certificate to check, with the key, CA bundles and names it must match."""

    file: File
    role: str = ""  # a role of LEAVES, or CA; empty: the role that the certificate states
    key: File | None = None
    bundles: tuple[File, ...] = ()  # the chain must lead to a certificate of these files
    wanted: tuple[str, ...] = ()  # names and addresses that a server's certificate has to have


@dataclass(frozen=True)
class Clock:
    now: datetime
    warn_within: timedelta


def check(subject: Subject, clock: Clock) -> list[Finding]:
    """Return all findings on a certificate; an empty list means that it is good."""
    path = subject.file.path
    try:
        found = certificate_parsing.certificates(subject.file.content)
    except ValueError as error:
        return [Finding(path, ERROR, str(error), "put a PEM certificate there")]
    leaf, role = found[0], subject.role or (CA if certificate_parsing.is_authority(found[0]) else "")
    findings = [*validity(path, leaf, clock), *strength(path, leaf)]
    findings += _authority(path, leaf) if role == CA else _leaf(path, leaf, role, subject.wanted)
    if subject.key is not None:
        findings += key_findings(path, found, subject.key)
    if subject.bundles and role != CA:
        findings += _chain(path, found, subject.bundles, clock)
    return findings


def summary(subject: Subject, clock: Clock) -> str:
    """Return a one-line summary of a certificate without findings."""
    leaf = certificate_parsing.certificates(subject.file.content)[0]
    days = (leaf.not_valid_after_utc - clock.now).days
    return f"{certificate_parsing.subject(leaf)}, valid until {leaf.not_valid_after_utc:%Y-%m-%d} ({days} days)"


def validity(path: str, found: x509.Certificate, clock: Clock) -> Iterator[Finding]:
    """Return findings on the period of validity: not yet, no longer, or not for long."""
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    if clock.now > end:
        yield Finding(path, ERROR, f"expired on {end:%Y-%m-%d %H:%M} UTC", _RENEW)
    elif clock.now < begin:
        yield Finding(path, ERROR, f"not valid before {begin:%Y-%m-%d %H:%M} UTC", "set the clock, or wait")
    elif end - clock.now < clock.warn_within:
        left = end - clock.now
        text = f"{left.days} days" if left.days else f"{left.seconds // 3600} hours"
        yield Finding(path, WARNING, f"expires in {text}, on {end:%Y-%m-%d %H:%M} UTC", _RENEW)


def strength(path: str, found: x509.Certificate) -> Iterator[Finding]:
    """Return findings on algorithms and encodings that Go or OpenSSL refuse."""
    key = found.public_key()
    again = "issue it again with an ECDSA-P256 or RSA-2048 key"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        yield Finding(path, ERROR, f"its RSA key has {key.key_size} bits; {SMALLEST_RSA} is the least", again)
    elif isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        yield Finding(path, ERROR, f"its key is on the curve {key.curve.name}, which TLS in Go does not speak", again)
    elif isinstance(key, dsa.DSAPublicKey) or not isinstance(
        key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    ):
        yield Finding(path, ERROR, "its key is of a kind that TLS in Go does not speak", again)
    signed = found.signature_hash_algorithm
    if isinstance(signed, _WEAK_HASHES) and found.issuer != found.subject:
        yield Finding(path, ERROR, f"signed with {signed.name}, which Go refuses", "issue it again with SHA-256")
    if certificate_parsing.serial_number(found) < 0:
        yield Finding(path, ERROR, "its serial number is negative, which Go refuses", "issue it again")
    for each in found.extensions:
        if each.critical and isinstance(each.value, x509.UnrecognizedExtension):
            text = f"has the critical extension {each.oid.dotted_string}, which Go refuses"
            yield Finding(path, ERROR, text, "issue it again without it")


def key_findings(path: str, found: Sequence[x509.Certificate], key: File) -> Iterator[Finding]:
    """Return findings on the private key: unreadable, or not that of the first certificate."""
    try:
        private = certificate_parsing.private_key(key.content)
    except ValueError as error:
        yield Finding(key.path, ERROR, str(error), f"put the private key of {path} there, without a password")
        return
    if certificate_parsing.is_pair(found[0].public_key(), private):
        return
    for number, each in enumerate(found[1:], 2):
        if certificate_parsing.is_pair(each.public_key(), private):
            text = f"the key belongs to certificate {number} of {path}, not to the first"
            yield Finding(key.path, ERROR, text, "put that certificate first in its file")
            return
    yield Finding(key.path, ERROR, f"the key does not belong to {path}", "take certificate and key of the same making")


def missing_names(found: x509.Certificate, wanted: Iterable[str]) -> list[str]:
    """Return the wanted names and addresses that the certificate does not have."""
    there = certificate_parsing.alternative_names(found)
    return [name for name in wanted if not any(_covers(kind, value, name) for kind, value in there)]


def masters(path: str, found: x509.Certificate) -> Iterator[Finding]:
    """Return a finding if the user is in the group that has every right, whatever RBAC says."""
    if MASTERS in certificate_parsing.groups(found):
        text = f"its organization {MASTERS} makes its holder the cluster's administrator"
        yield Finding(path, ERROR, text, "issue it again without an organization: `konnectivity kubeconfig`")


def _authority(path: str, found: x509.Certificate) -> Iterator[Finding]:
    again = "issue the CA again, or put the right file there"
    if not certificate_parsing.is_authority(found):
        yield Finding(path, ERROR, "is not a CA: its basic constraints do not say so", again)
    usage = certificate_parsing.extension(found, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield Finding(path, ERROR, "may not sign certificates, by its key usage", again)


def _leaf(path: str, found: x509.Certificate, role: str, wanted: Sequence[str]) -> Iterator[Finding]:
    there = certificate_parsing.usages(found)
    needed = LEAVES[role].usages if role else ()
    for each in needed:
        if there and each not in there:  # OpenSSL does not accept `any` for the needed usage
            text = f"is good for {', '.join(there)}, not for {each}"
            yield Finding(path, ERROR, text, f"issue it again with the extended key usage {each}")
    usage = certificate_parsing.extension(found, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield Finding(path, ERROR, "its key usage has no digitalSignature", "issue it again with it")
    if certificate_parsing.is_authority(found):
        yield Finding(
            path, WARNING, "is a CA: whoever has its key can issue certificates", "use a certificate of its own"
        )
    if CLIENT_AUTH in there or not there:
        yield from masters(path, found)
    if SERVER_AUTH in (needed or there):
        yield from _server_names(path, found)
    if lacking := missing_names(found, wanted):
        had = ", ".join(certificate_parsing.names(found)) or "none"
        text = f"does not name {', '.join(lacking)}; its subject alternative names: {had}"
        yield Finding(path, ERROR, text, "issue it again with that name, or use one that it has")


def _server_names(path: str, found: x509.Certificate) -> Iterator[Finding]:
    there = certificate_parsing.alternative_names(found)
    if not any(kind in ("DNS", "IP") for kind, _ in there):
        text = "has no subject alternative name, and the common name does not count"
        yield Finding(path, ERROR, text, "issue it again with the name or address that clients use")
    for kind, value in there:
        if kind == "DNS" and _is_address(value):
            text = f"has the address {value} as a DNS name, which matches nothing"
            yield Finding(path, WARNING, text, f"issue it again with IP:{value}")


def _chain(path: str, found: Sequence[x509.Certificate], bundles: Sequence[File], clock: Clock) -> Iterator[Finding]:
    trusted: list[x509.Certificate] = []
    for bundle in bundles:
        try:
            trusted += certificate_parsing.certificates(bundle.content)
        except ValueError as error:
            yield Finding(bundle.path, ERROR, str(error), "put the CA's PEM certificate there")
    if trusted and (why := chains.broken(found[0], found[1:], trusted, clock.now)):
        names = ", ".join(bundle.path for bundle in bundles)
        yield Finding(path, ERROR, f"does not lead to {names}: {why}", "take the CA that issued it, or issue it again")
    if (
        len(found) > 1
        and certificate_parsing.is_authority(found[0])
        and not certificate_parsing.is_authority(found[-1])
    ):
        yield Finding(path, NOTE, "the CA stands before the certificate", "put the certificate first")


def _covers(kind: str, value: str, wanted: str) -> bool:
    if _is_address(wanted):
        return kind == "IP" and ip_address(value) == ip_address(wanted)
    if kind != "DNS":
        return False
    pattern, name = value.lower().removesuffix("."), wanted.lower().removesuffix(".")
    if pattern.startswith("*."):
        if pattern.count(".") < 2:  # OpenSSL takes *.example for too wide
            return pattern == name
        return pattern == name or (name.partition(".")[2] == pattern[2:] and not name.startswith("."))
    return pattern == name


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

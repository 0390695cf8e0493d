"""TLS contexts from files, for each role on each edge. Owns what is offered and demanded, and how files are judged.

The rules are those of Go's TLS where OpenSSL has others: any certificate of a CA bundle is trusted as it stands, also
one that is not a root; the common name is no host name; X509_STRICT, which Python may turn on, is off.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from konnectivity import certificate as certificates
from konnectivity import pem
from konnectivity.certificate import Certificate
from konnectivity.net.error_words import words_of
from konnectivity.tls.handshake import ServerSession
from konnectivity.tls_names import CIPHER_SUITES, TLS_VERSIONS

DEFAULT_MIN_VERSION = "VersionTLS12"
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # the last: kinds differ


class TlsError(Exception):
    """A certificate, key or CA file cannot be used; `str()` says which and why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A context, and what its files say."""

    context: ssl.SSLContext
    certificate: Certificate | None  # that it shows
    ca_not_after: float | None  # when the first of the CA bundle expires, seconds since 1970


def server_context(
    certificate: str,
    key: str,
    client_ca: str,
    alpn: Sequence[str],
    optional_client: bool = False,
    ciphers: Sequence[str] = (),
    min_version: str = "",
) -> ssl.SSLContext:
    """Context of a listener. With a client CA, every client must show a certificate that it verifies.

    Args:
        certificate, key, client_ca: PEM files; no client CA: clients are not asked.
        alpn: protocols, the preferred one first.
        optional_client: a client may show no certificate, but not a wrong one.
        ciphers: Go's names of the suites for TLS 1.2 and below; none: those that Go takes. Those of TLS 1.3 are not
            to choose, in Go or here.
        min_version: Go's name of the lowest TLS version; empty: 1.2.

    Raises:
        TlsError: a file is missing or is not what it should be; a name is unknown.
    """
    return load_server(certificate, key, client_ca, alpn, optional_client, ciphers, min_version).context


def client_context(ca: str, certificate: str, key: str, alpn: Sequence[str]) -> ssl.SSLContext:
    """Context of a client that trusts only `ca`, and shows a certificate if it has one. Same errors."""
    return load_client(ca, certificate, key, alpn).context


def load_server(
    certificate: str,
    key: str,
    client_ca: str,
    alpn: Sequence[str],
    optional_client: bool = False,
    ciphers: Sequence[str] = (),
    min_version: str = "",
) -> Loaded:
    """`server_context`, and what its files say."""
    context = _new(ssl.PROTOCOL_TLS_SERVER, alpn, ciphers, min_version)
    context.sslobject_class = ServerSession
    # Whoever resumes is not verified again. A session id of TLS 1.2 is good for its own context alone, and so until
    # a file changes.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    shown = _load_pair(context, certificate, key)
    expires = None
    if client_ca:
        expires = _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL if optional_client else ssl.CERT_REQUIRED
    return Loaded(context, shown, expires)


def load_client(ca: str, certificate: str, key: str, alpn: Sequence[str]) -> Loaded:
    """`client_context`, and what its files say."""
    context = _new(ssl.PROTOCOL_TLS_CLIENT, alpn)
    context.hostname_checks_common_name = False
    expires = _load_ca(context, ca)
    return Loaded(context, _load_pair(context, certificate, key) if certificate else None, expires)


def server_name(host: str) -> str:
    """The name of a host for SNI and in certificates: without the brackets of an IPv6 address or a final dot."""
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def notice_truncation(context: ssl.SSLContext) -> None:
    """Make an end of the connection without TLS's own end an error: Python before 3.11.4 has OpenSSL ignore it."""
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


def _new(protocol: int, alpn: Sequence[str], ciphers: Sequence[str] = (), min_version: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_RENEGOTIATION
    notice_truncation(context)
    context.set_alpn_protocols(list(alpn))
    _set_min_version(context, min_version or DEFAULT_MIN_VERSION)
    _set_ciphers(context, ciphers)
    return context


def _set_min_version(context: ssl.SSLContext, name: str) -> None:
    if name not in TLS_VERSIONS:
        raise TlsError(f"TLS version {name!r} is unknown; there are {', '.join(TLS_VERSIONS)}")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with warnings.catch_warnings(), suppress(ValueError):  # OpenSSL may have been built without the oldest
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSIONS[name]


def _set_ciphers(context: ssl.SSLContext, names: Sequence[str]) -> None:
    for name in names:
        if name not in CIPHER_SUITES:
            raise TlsError(f"cipher suite {name!r} is unknown or insecure; there are {', '.join(CIPHER_SUITES)}")
    suites = [CIPHER_SUITES[name] for name in names or CIPHER_SUITES]
    suites = [suite for suite in suites if suite not in CIPHER_SUITES]  # in TLS 1.3 the two names are the same
    if not suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(
            ":".join(sorted(suites, key=lambda suite: suite.endswith("-SHA")))
        )  # CBC is the last resort
    except ssl.SSLError as error:
        raise TlsError(f"this OpenSSL has none of the cipher suites {', '.join(names)}") from error


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> Certificate:
    content = _read(certificate, "certificate")
    _check_key(_read(key, "private key"), key)
    try:
        shown = certificates.first(content)
    except ValueError as error:
        raise TlsError(f"cannot use certificate {certificate!r}: {error}") from error
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            raise TlsError(f"private key {key!r} does not belong to certificate {certificate!r}") from error
        raise TlsError(f"cannot use certificate {certificate!r} with key {key!r}: {_text(error)}") from error
    except OSError as error:  # replaced or removed since it was read
        raise TlsError(f"cannot read certificate {certificate!r} or key {key!r}: {error.strerror}") from error
    return shown


def _check_key(content: bytes, path: str) -> None:
    """Refuse what OpenSSL would ask a password for, and what is no key."""
    try:
        keys = [block for block in pem.blocks(content) if block.label.endswith("PRIVATE KEY")]
    except ValueError as error:
        raise TlsError(f"cannot use private key {path!r}: {error}") from error
    if not keys:
        raise TlsError(f"cannot use private key {path!r}: holds no private key")
    if keys[0].headers or keys[0].label.startswith("ENCRYPTED"):
        raise TlsError(f"cannot use private key {path!r}: it is encrypted; write it without a password")


def _load_ca(context: ssl.SSLContext, path: str) -> float:
    """Trust a bundle; when the first of it expires."""
    expires: list[float] = []
    content = _read(path, "CA bundle")
    try:
        for number, der in enumerate(certificates.chain(content), 1):
            try:
                expires.append(certificates.parse(der).not_after)
                context.load_verify_locations(cadata=der)
            except (ValueError, ssl.SSLError) as error:
                raise ValueError(f"certificate {number} of it: {_text(error)}") from error
        if not expires:
            raise ValueError("holds no certificate")
    except ValueError as error:
        raise TlsError(f"cannot use CA bundle {path!r}: {error}") from error
    return min(expires)


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TlsError(f"cannot read {what} {path!r}: {error.strerror}") from error


def _text(error: Exception) -> str:
    return getattr(error, "reason", None) or words_of(error)

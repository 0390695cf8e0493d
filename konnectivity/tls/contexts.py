"""TLS contexts of listeners and clients. Owns what is offered and demanded; `pem_files` judges the files.

The rules are those of Go's TLS where OpenSSL has others: any certificate of a CA bundle is trusted as it stands, also
one that is not a root; the common name is no host name; X509_STRICT, which Python may turn on, is off.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Sequence
from contextlib import suppress

from konnectivity.tls import pem_files
from konnectivity.tls.go_names import CIPHER_SUITES, TLS_VERSIONS
from konnectivity.tls.handshake import ServerSession
from konnectivity.tls.pem_files import Bundle, Pair, TlsError

DEFAULT_MIN_VERSION = "VersionTLS12"
_HYBRID_SINCE = (3, 5)  # OpenSSL's default groups begin with X25519MLKEM768


def server_context(
    certificate: str,
    key: str,
    client_ca: str,
    alpn: Sequence[str],
    optional_client: bool = False,
    ciphers: Sequence[str] = (),
    min_version: str = "",
) -> ssl.SSLContext:
    """Return the context of a listener. With a client CA, every client must show a certificate that the CA verifies.

    Args:
        certificate: PEM file with the chain.
        key: PEM file.
        client_ca: PEM file; empty: clients are not asked for a certificate.
        alpn: protocols, the preferred one first.
        optional_client: whether a client may show no certificate; a wrong one is refused.
        ciphers: Go's names of the suites for TLS 1.2 and below; empty: Go's choice. The suites of TLS 1.3 cannot be
            chosen, as in Go.
        min_version: Go's name of the lowest TLS version; empty: 1.2.

    Raises:
        TlsError: a file is missing or is not what it should be; a name is unknown.

    """
    bundle = pem_files.read_bundle(client_ca) if client_ca else None
    return make_server(pem_files.read_pair(certificate, key), bundle, alpn, optional_client, ciphers, min_version)


def client_context(ca: str, certificate: str, key: str, alpn: Sequence[str]) -> ssl.SSLContext:
    """Return the context of a client that trusts only `ca`, and shows a certificate if there is one. Same errors."""
    return make_client(pem_files.read_bundle(ca), pem_files.read_pair(certificate, key) if certificate else None, alpn)


def make_server(
    pair: Pair,
    client_ca: Bundle | None,
    alpn: Sequence[str],
    optional_client: bool = False,
    ciphers: Sequence[str] = (),
    min_version: str = "",
) -> ssl.SSLContext:
    """Return the context of `server_context` from files that were read already."""
    context = _new(ssl.PROTOCOL_TLS_SERVER, alpn, ciphers, min_version)
    context.sslobject_class = ServerSession
    # A client that resumes a session is not verified again. Session ids of TLS 1.2 cannot be turned off in Python: they
    # are good for their own context alone, which `ServerTls` replaces as soon as it has some.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    pair.use(context)
    if client_ca is not None:
        client_ca.use(context)
        context.verify_mode = ssl.CERT_OPTIONAL if optional_client else ssl.CERT_REQUIRED
    return context


def make_client(ca: Bundle, pair: Pair | None, alpn: Sequence[str]) -> ssl.SSLContext:
    """Return the context of `client_context` from files that were read already."""
    context = _new(ssl.PROTOCOL_TLS_CLIENT, alpn)
    context.hostname_checks_common_name = False
    ca.use(context)
    if pair is not None:
        pair.use(context)
    return context


def key_exchange(openssl: tuple[int, ...] = ssl.OPENSSL_VERSION_INFO) -> str:
    """Return the key exchange that two ends with this OpenSSL agree on in TLS 1.3."""
    if openssl >= _HYBRID_SINCE:
        return "X25519MLKEM768, hybrid and post-quantum"
    return "X25519, not post-quantum: X25519MLKEM768 needs OpenSSL 3.5"


def server_name(host: str) -> str:
    """Return the name of a host for SNI and in certificates: without the brackets of an IPv6 address or a final dot."""
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
        raise TlsError(f"TLS version {name!r} is unknown: use one of {', '.join(TLS_VERSIONS)}")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with warnings.catch_warnings(), suppress(ValueError):  # OpenSSL may have been built without the oldest
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSIONS[name]


def _set_ciphers(context: ssl.SSLContext, names: Sequence[str]) -> None:
    for name in names:
        if name not in CIPHER_SUITES:
            raise TlsError(f"cipher suite {name!r} is unknown or insecure: use one of {', '.join(CIPHER_SUITES)}")
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

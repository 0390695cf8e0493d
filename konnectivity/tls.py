"""TLS contexts from files, for each role on each edge. Owns minimum version, ALPN and who must show a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Sequence


class TlsError(Exception):
    """A certificate, key or CA file cannot be used; `str()` says which and why."""


def server_context(
    certificate: str, key: str, client_ca: str, alpn: Sequence[str], optional_client: bool = False
) -> ssl.SSLContext:
    """Context of a listener. With a client CA, every client must show a certificate that it verifies.

    Raises:
        TlsError: a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _common(context, alpn)
    _load_pair(context, certificate, key)
    if client_ca:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL if optional_client else ssl.CERT_REQUIRED
    return context


def client_context(ca: str, certificate: str, key: str, alpn: Sequence[str]) -> ssl.SSLContext:
    """Context of a client that trusts only `ca`, and shows a certificate if it has one. Same errors."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _common(context, alpn)
    context.hostname_checks_common_name = False
    _load_ca(context, ca)
    if certificate:
        _load_pair(context, certificate, key)
    return context


def _common(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    context.options |= ssl.OP_NO_RENEGOTIATION


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    for path, what in ((certificate, "certificate"), (key, "private key")):
        _check_readable(path, what)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"cannot use certificate {certificate} with key {key}: {_text(error)}") from error


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path, "CA bundle")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsError(f"cannot use CA bundle {path}: {_text(error)}") from error


def _check_readable(path: str, what: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TlsError(f"cannot read {what} {path!r}: {error.strerror}") from error


def _text(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error) or type(error).__name__

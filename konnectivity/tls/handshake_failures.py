"""Reasons why TLS handshakes fail: one word for a metric, one sentence for a person. Knows no connection."""

from __future__ import annotations

import ssl
from typing import NamedTuple

from konnectivity.untrusted.untrusted_text import cut

_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_*, which OpenSSL never renumbers
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21, 24, 27)
_WRONG_PURPOSE = (26,)
_NOT_TLS = (
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "UNEXPECTED_MESSAGE",
    "BAD_RECORD_TYPE",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_TOO_SMALL",
    "RECORD_LAYER_FAILURE",
)
_NOTHING_IN_COMMON = (
    "NO_SHARED_CIPHER",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
    "NO_SUITABLE_GROUPS",
    "NO_SUITABLE_KEY_SHARE",
    "NO_SHARED_SIGNATURE_ALGORITHMS",
    "NO_SHARED_GROUPS",
    "UNSUPPORTED_PROTOCOL",
    "VERSION_TOO_LOW",
    "VERSION_TOO_HIGH",
    "WRONG_SSL_VERSION",
    "INAPPROPRIATE_FALLBACK",
)
# TLS alerts, in the words of RFC 8446 as Go prints them.
_ALERTS = {
    "BAD_CERTIFICATE": "bad certificate",
    "UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "CERTIFICATE_REVOKED": "revoked certificate",
    "CERTIFICATE_EXPIRED": "expired certificate",
    "CERTIFICATE_UNKNOWN": "unknown certificate",
    "CERTIFICATE_REQUIRED": "certificate required",
    "UNKNOWN_CA": "unknown certificate authority",
    "HANDSHAKE_FAILURE": "handshake failure",
    "PROTOCOL_VERSION": "protocol version not supported",
    "NO_APPLICATION_PROTOCOL": "no application protocol",
    "UNRECOGNIZED_NAME": "unrecognized name",
    "INSUFFICIENT_SECURITY": "insufficient security level",
    "DECRYPT_ERROR": "error decrypting message",
    "INTERNAL_ERROR": "internal error",
}
_ADVICE = {
    "certificate required": "give this program a client certificate",
    "unknown certificate authority": "the other side does not trust the authority of this program's certificate",
    "expired certificate": "renew this program's certificate, or correct the clocks",
    "unsupported certificate": "this program's certificate is not for this use: its extended key usage must name it",
    "unknown certificate": "the other side does not accept this program's certificate",
    "bad certificate": "the other side does not accept this program's certificate",
    "no application protocol": "is this the right port?",
}

MAX_SHOWN_NAME = 253  # characters of a server name in a text
CLOSED, TIMEOUT, OTHER = "closed", "timeout", "other"
INVALID_HEADER, MISSING_HEADER = "proxy_header_invalid", "proxy_header_missing"  # of the PROXY protocol, before TLS
REASONS = (
    "no_certificate",
    "unknown_authority",
    "expired",
    "not_yet_valid",
    "wrong_purpose",
    "bad_certificate",
    "refused_by_peer",
    "not_tls",
    "nothing_in_common",
    INVALID_HEADER,
    MISSING_HEADER,
    "unknown_name",
    CLOSED,
    TIMEOUT,
    OTHER,
)


class Failure(NamedTuple):
    """Reason of a failed handshake: one of `REASONS`, and a sentence about the peer."""

    reason: str
    text: str


def of_client(error: ssl.SSLError) -> Failure:
    """Return why a listener's handshake with a client failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(
            _certificate_reason(error.verify_code), f"its certificate is not accepted: {error.verify_message}"
        )
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Failure("no_certificate", "it showed no certificate")
    if reason == "UNKNOWN_SERVER_NAME":
        name = cut(str(error.args[1]), MAX_SHOWN_NAME)
        return Failure("unknown_name", f"it asked for the server name {name!r}" if name else "it sent no server name")
    if reason in ("BAD_CLIENT_HELLO", "BAD_CERTIFICATE_FILES"):
        return Failure("not_tls" if reason == "BAD_CLIENT_HELLO" else OTHER, str(error.args[1]))
    if (alert := alert_of(error)) is not None:
        return Failure("refused_by_peer", f"it ended the handshake: {alert}")
    if reason in _NOT_TLS:
        return Failure("not_tls", "it does not speak TLS")
    if reason in _NOTHING_IN_COMMON:
        return Failure("nothing_in_common", f"no TLS version or cipher suite in common: {_words(reason)}")
    return Failure(OTHER, _words(reason) or str(error))


def alert_of(error: BaseException | None) -> str | None:
    """Return the TLS alert by which the peer ended the connection, or None if `error` is something else."""
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    if not isinstance(reason, str) or "_ALERT_" not in reason:
        return None
    name = reason.partition("_ALERT_")[2]
    return _ALERTS.get(name.removeprefix("SSL_"), _words(name))


def of_peer(error: BaseException | None) -> str | None:
    """Return why the peer ended this TLS connection, with what to do, or None if it sent no TLS alert."""
    alert = alert_of(error)
    if alert is None:
        return None
    advice = _ADVICE.get(alert)
    return f"the other side ended TLS: {alert}" + (f" ({advice})" if advice else "")


def _certificate_reason(code: int) -> str:
    if code == _EXPIRED:
        return "expired"
    if code == _NOT_YET_VALID:
        return "not_yet_valid"
    if code in _UNKNOWN_AUTHORITY:
        return "unknown_authority"
    return "wrong_purpose" if code in _WRONG_PURPOSE else "bad_certificate"


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")

"""Answers to clients about failed dials: the reply code of SOCKS5, and the status and text of HTTP. Pure."""

from __future__ import annotations

from http import HTTPStatus

from konnectivity.errors import NO_DESCRIPTORS, REFUSED_BY_POLICY, REFUSED_BY_SERVER, DialError, DialFailure
from konnectivity.forward import socks5

BAD_REQUEST, FORBIDDEN, PROXY_AUTHENTICATION, BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT = 400, 403, 407, 502, 503, 504
_CHALLENGE = b'Proxy-Authenticate: Basic realm="konnectivity", charset="UTF-8"\r\n'
_MAX_TEXT = 1024  # characters of the reason in an answer


def status_of(error: DialError) -> int:
    """Return the HTTP status of a failed dial."""
    text = str(error).lower()
    if is_refused_by_policy(error):
        return FORBIDDEN
    if error.failure is DialFailure.TIMEOUT or "timeout" in text or "deadline exceeded" in text:
        return GATEWAY_TIMEOUT
    if error.failure is DialFailure.ADDRESS:
        return BAD_REQUEST
    if error.failure in (DialFailure.BUDGET, DialFailure.FLOOD) or NO_DESCRIPTORS in text:
        return UNAVAILABLE
    return BAD_GATEWAY


def socks_code_of(error: DialError) -> int:
    """Return the reply code of SOCKS5 of a failed dial."""
    text = str(error).lower()
    if is_refused_by_policy(error):
        return socks5.NOT_ALLOWED
    if "connection refused" in text and error.failure is DialFailure.ENDPOINT:
        return socks5.REFUSED
    if "network is unreachable" in text or error.failure is DialFailure.NO_AGENT:
        return socks5.NETWORK_UNREACHABLE
    unreachable = ("no such host", "no route to host", "host is unreachable", "timeout", "deadline exceeded")
    if error.failure in (DialFailure.TIMEOUT, DialFailure.ADDRESS) or any(each in text for each in unreachable):
        return socks5.HOST_UNREACHABLE
    return socks5.GENERAL_FAILURE


def is_refused_by_policy(error: DialError) -> bool:
    """Return whether the policy of the server or of the agent refused the dial."""
    return REFUSED_BY_POLICY in str(error) or REFUSED_BY_SERVER in str(error)


def http_answer(status: int, text: str, head_only: bool = False) -> bytes:
    """Return a whole response that says why a request failed, after which the connection is closed."""
    body = text[:_MAX_TEXT].encode("utf-8", "replace") + b"\n"
    head = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
    head += _CHALLENGE if status == PROXY_AUTHENTICATION else b""
    head += b"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    head += b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    return head if head_only else head + body

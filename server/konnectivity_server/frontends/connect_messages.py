"""Messages of HTTP CONNECT: the destination in the head of a request, and the bytes of each answer. Pure.

A pattern reads heads of the usual form, h11 all others. Answers are byte for byte those that clients of the reference
know (docs/internals/protocol.md, "HTTP CONNECT").
"""

from __future__ import annotations

import re

import h11

from konnectivity.errors import NO_DESCRIPTORS, REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.http1.message_heads import HeadError, HeadFault

MAX_REASON = 512  # characters of an error text in a status line
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_NOT_CONNECT = b"this proxy only supports CONNECT passthrough\n"
_HOST = re.compile(rb"\r?\nhost[ \t]*:", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"CONNECT +([^ \r\n]+) +HTTP/1\.1\r?\n")
# The whole head as kube-apiserver and Go's HTTP client send it. Every other head is left to h11.
_PLAIN_HEAD = re.compile(
    rb"CONNECT ((?!/)[!-~]+) HTTP/1\.1\r\nHost: [!-~]+\r\n(?:User-Agent: [!-~]+(?: [!-~]+)*\r\n)?\r\n"
)
_TRACE_PARENT = re.compile(rb"\ntraceparent:[ \t]*([^\r\n]*)", re.IGNORECASE)
_TOKEN = re.compile(rb"\nproxy-authorization:[ \t]*bearer +([!-~]+)[ \t]*\r?\n", re.IGNORECASE)
_VERSION = re.compile(rb"[^ \r\n]+ +[^ \r\n]+ +HTTP/(\d+)\.(\d+)\r?\n")


class BadRequest(Exception):
    """Request that the frontend does not serve.

    Args:
        answer: bytes to send.
        keep: whether the connection stays open.
        limit: name of the limit that was reached, if one was.

    """

    def __init__(self, answer: bytes, keep: bool = False, limit: str = "") -> None:
        super().__init__()
        self.answer = answer
        self.keep = keep
        self.limit = limit


def refusal(error: HeadError) -> BadRequest:
    """Return the refusal of bytes that are not a request head, or of a head that is too large."""
    if error.fault is HeadFault.TOO_LARGE:
        return BadRequest(_error(b"431 Request Header Fields Too Large"), limit="connect_head")
    return BadRequest(_bad_request())


def plain_destination(received: bytes) -> str | None:
    """Return the destination if `received` is exactly a CONNECT head of the usual form, otherwise None."""
    head = _PLAIN_HEAD.fullmatch(received)
    return None if head is None else _unescaped(head[1].decode("ascii"))


def destination(head: bytes) -> str:
    """Return the destination of a CONNECT, which should be "host:port" but is not checked.

    Raises:
        BadRequest: the head is not that of a CONNECT, or not HTTP.

    """
    version = _VERSION.match(head)
    if version is not None and version[1] != b"1":
        raise BadRequest(_error(b"505 HTTP Version Not Supported"))
    line = _REQUEST_LINE.match(head)
    if line is not None and not _HOST.search(head):
        # h11 requires Host, which a CONNECT may omit because it would only repeat the target (RFC 9110 section 7.2).
        head = head[: line.end()] + b"Host: " + line[1] + b"\r\n" + head[line.end() :]
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    parser.receive_data(head)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        detail = b": missing required Host header" if "Host" in str(error) and "issing" in str(error) else b""
        raise BadRequest(_bad_request(detail)) from error
    if not isinstance(request, h11.Request):
        raise BadRequest(_bad_request())
    if request.method != b"CONNECT":
        keep = not _wants_close(request)
        raise BadRequest(_not_connect(keep), keep)
    target = request.target.decode("latin-1")
    if target.startswith("/"):
        target = next((value.decode("latin-1") for name, value in request.headers if name == b"host"), "")
    if not target:
        raise BadRequest(_bad_request())
    return _unescaped(target)


def trace_parent_text(head: bytes) -> str:
    """Return the value of `traceparent` in a head, not checked; empty if the head has none, or several."""
    values = _TRACE_PARENT.findall(head)
    return values[0].rstrip(b" \t").decode("latin-1") if len(values) == 1 else ""


def shown_token(head: bytes) -> bytes:
    """Return the token in the Proxy-Authorization field of a head; empty if there is none, or there are several."""
    values = _TOKEN.findall(head)
    return values[0] if len(values) == 1 else b""


def _unescaped(target: str) -> str:
    """Return a destination with the percent sign of its IPv6 zone, which RFC 6874 escapes as %25."""
    return target.replace("%25", "%", 1) if target.startswith("[") else target


def answer_to(error: DialError) -> bytes:
    """Return the bytes that tell a CONNECT client why its dial failed.

    The reason is in the body and in the status line, because kube-apiserver shows only the status line.
    """
    text = str(error).encode()
    reason = _reason(str(error))
    match error.failure:
        case DialFailure.NO_AGENT:
            head = b"HTTP/1.1 500 " + reason + b"\r\nContent-Type: text/plain\r\n\r\n"
            return head + b"currently no tunnels available: " + text
        case DialFailure.TIMEOUT:
            return b"HTTP/1.1 504 " + reason + b"\r\n" + _TEXT + b"\r\nBackend dial timeout: " + text + b"\r\n"
        case DialFailure.TUNNEL_LOST:
            return b"HTTP/1.1 502 " + reason + b"\r\n" + _TEXT + b"\r\nBackend context error: context canceled\r\n"
        case DialFailure.CLOSED_BY_AGENT:
            return b""
        case DialFailure.ADDRESS:
            status = b"400"
        case DialFailure.POLICY:
            status = b"403"
        case DialFailure.BUDGET | DialFailure.FLOOD:
            status = b"503"
        case _:
            status = _status_of(str(error))
    return b"HTTP/1.1 " + status + b" " + reason + b"\r\nConnection: close\r\n" + _TEXT + b"\r\n" + text


def _reason(text: str) -> bytes:
    """Return a text as the reason phrase of a status line: one line of printable ASCII, of a bounded length."""
    shown = "".join(each if " " <= each <= "~" else "?" for each in text[:MAX_REASON])
    return shown.strip().encode() or b"Dial failed"


def _status_of(text: str) -> bytes:
    """Return the HTTP status of an agent's error text."""
    if REFUSED_BY_POLICY in text:
        return b"403"
    lowered = text.lower()
    if "timeout" in lowered or "deadline exceeded" in lowered:
        return b"504"
    if NO_DESCRIPTORS in lowered:
        return b"503"
    return b"502"


def _wants_close(request: h11.Request) -> bool:
    """Return whether the connection ends after a refused request: on demand, before HTTP/1.1, or because of a body."""
    names = {name for name, _ in request.headers}
    asked = any(name == b"connection" and b"close" in value.lower() for name, value in request.headers)
    return asked or request.http_version != b"1.1" or bool(names & {b"content-length", b"transfer-encoding"})


def _error(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + _TEXT + b"Connection: close\r\n\r\n" + status


def _bad_request(detail: bytes = b"") -> bytes:
    return _error(b"400 Bad Request") + detail


def _not_connect(keep: bool) -> bytes:
    from email.utils import formatdate  # loaded for requests other than CONNECT only: it takes memory

    lines = [
        b"HTTP/1.1 405 Method Not Allowed",
        b"Content-Type: text/plain; charset=utf-8",
        b"X-Content-Type-Options: nosniff",
        b"Date: " + formatdate(usegmt=True).encode(),
        b"Content-Length: %d" % len(_NOT_CONNECT),
    ]
    if not keep:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + _NOT_CONNECT

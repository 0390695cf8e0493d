"""Requests to an HTTP proxy (RFC 9110, RFC 9112): the destination in a head, and the head that is passed on. Pure.

h11 parses heads. Forms of a head that two programs could read differently are refused before: a bare LF or CR, a folded
line, and Content-Length beside Transfer-Encoding. Does not know how bodies are passed on, nor how a destination is
dialled.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

from konnectivity.http1.message_heads import HeadError, HeadFault
from konnectivity.net import addresses

HTTP_PORT, HTTPS_PORT = 80, 443
NAME = b"konnectivity"  # in Via
_LINES = re.compile(rb"(?:[^\r\n]+\r\n)+\r\n")
_FOLDED = re.compile(rb"\n[ \t]")
_ABSOLUTE = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)", re.IGNORECASE | re.ASCII)
_VERSION = re.compile(rb"[^ \r\n]+ +[^ \r\n]+ +HTTP/(\d+)\.\d+\r\n")
_OTHER = rb"(?:(?:User-Agent|Proxy-Connection): [!-~]+(?: [!-~]+)*\r\n){0,4}"
# The whole head of a CONNECT as curl and Go send it. Every other head is left to h11, which takes ten times as long.
_PLAIN_CONNECT = re.compile(
    rb"CONNECT ([!-~]+) HTTP/1\.1\r\nHost: [!-~]+\r\n"
    rb"%b(?:Proxy-Authorization: ([!-~]+ [!-~]+)\r\n)?%b\r\n" % (_OTHER, _OTHER)
)
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_FRAMING = frozenset((b"content-length", b"host", b"transfer-encoding"))  # not removed, whatever Connection names
_CONNECT, _TRACE = "CONNECT", "TRACE"

Fields = list[tuple[bytes, bytes]]


class RequestError(Exception):
    """Request that is not passed on; `status` is that of the answer, `str()` its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ProxyRequest(NamedTuple):
    """Request of a client.

    Attributes:
        method: in its spelling, CONNECT for a tunnel.
        destination: "host:port".
        authorization: value of Proxy-Authorization; empty without the field.
        head: the request that the destination gets; None for CONNECT.

    """

    method: str
    destination: str
    authorization: str
    head: h11.Request | None

    @property
    def is_connect(self) -> bool:
        """Return whether the client asks for a tunnel."""
        return self.head is None

    @property
    def is_repeatable(self) -> bool:
        """Return whether the request may be sent a second time: it changes nothing and has no body."""
        if self.head is None or self.method not in ("GET", "HEAD", "OPTIONS"):
            return False
        return not {name for name, _ in self.head.headers} & {b"content-length", b"transfer-encoding"}


def refused_head(error: HeadError) -> RequestError:
    """Return the refusal of bytes that are no request head, or of a head that is too large."""
    if error.fault is HeadFault.TOO_LARGE:
        return RequestError(431, "the head of the request is too large")
    return RequestError(400, "this port speaks HTTP/1.1 and SOCKS5")


def plain_connect(head: bytes) -> ProxyRequest | None:
    """Return the request if the head is that of a CONNECT in the usual form, otherwise None.

    Raises:
        RequestError: the destination is malformed.

    """
    found = _PLAIN_CONNECT.fullmatch(head)
    if found is None:
        return None
    destination = _authority(found[1].decode("ascii"), HTTPS_PORT)
    return ProxyRequest(_CONNECT, destination, (found[2] or b"").decode("ascii"), None)


def parse_request(head: bytes, parser: h11.Connection) -> ProxyRequest:
    """Read the head of one request with a fresh parser, which then reads the body.

    Raises:
        RequestError: the head is malformed, ambiguous, or asks for something that a proxy does not do.

    """
    _check_form(head)
    parser.receive_data(head)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise RequestError(error.error_status_hint, f"malformed request: {error}") from error
    if not isinstance(request, h11.Request):
        raise RequestError(400, "malformed request")
    fields = request.headers.raw_items()
    check_framing(fields)
    method, target = request.method.decode("ascii"), request.target.decode("ascii", "backslashreplace")
    authorization = next(
        (value.decode("latin-1") for name, value in request.headers if name == b"proxy-authorization"), ""
    )
    if method == _CONNECT:
        return ProxyRequest(method, _authority(target, HTTPS_PORT), authorization, None)
    if method == _TRACE:
        raise RequestError(405, "TRACE is not passed on")
    destination, authority, path = _split_target(method, target)
    passed = [(b"Host", authority.encode("ascii")), *passed_on(fields, request.http_version, frozenset((b"host",)))]
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        passed.append((b"Transfer-Encoding", b"chunked"))
    made = h11.Request(method=request.method, target=path.encode("ascii"), headers=passed)
    return ProxyRequest(method, destination, authorization, made)


def check_framing(fields: Fields) -> None:
    """Refuse a message whose length two programs could read differently.

    Raises:
        RequestError: the message has both Content-Length and Transfer-Encoding.

    """
    names = {name.lower() for name, _ in fields}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise RequestError(400, "the message has Content-Length and Transfer-Encoding")


def passed_on(fields: Fields, version: bytes, without: frozenset[bytes] = frozenset()) -> Fields:
    """Return the fields of a message without those of the hop (RFC 9110 section 7.6.1), and with Via."""
    named: set[bytes] = set()
    via = []
    for name, value in fields:
        if name.lower() == b"connection":
            named |= {each.strip().lower() for each in value.split(b",")}
        elif name.lower() == b"via":
            via.append(value)
    removed = _HOP_BY_HOP | (named - _FRAMING) | without | {b"via"}
    kept = [(name, value) for name, value in fields if name.lower() not in removed]
    return [*kept, (b"Via", b", ".join([*via, version + b" " + NAME]))]


def _check_form(head: bytes) -> None:
    version = _VERSION.match(head)
    if version is not None and version[1] != b"1":
        raise RequestError(505, "this proxy speaks HTTP/1.1")
    if not _LINES.fullmatch(head):
        raise RequestError(400, "a line of the head does not end with CR LF")
    if _FOLDED.search(head):
        raise RequestError(400, "a line of the head is folded")


def _split_target(method: str, target: str) -> tuple[str, str, str]:
    """Return destination, authority and path of a request in absolute form."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise RequestError(400, "this port is a proxy: ask with CONNECT, or for a whole URL")
    scheme, authority, path = found[1].lower(), found[2], found[3].partition("#")[0]
    if scheme != "http":
        raise RequestError(400, f"{scheme}: is reached with CONNECT; only http: is passed on")
    if "@" in authority:
        raise RequestError(400, "a URL with a user is not passed on")
    destination = _authority(authority, HTTP_PORT)
    if not path and method == "OPTIONS":
        return destination, authority, "*"
    return destination, authority, path if path.startswith("/") else f"/{path}"


def _authority(text: str, default_port: int) -> str:
    """Return "host:port" of an authority."""
    whole = text if addresses.has_port(text) else f"{text}:{default_port}"
    try:
        host, port = addresses.split(whole.replace("%25", "%", 1) if whole.startswith("[") else whole)
    except ValueError as error:
        raise RequestError(400, str(error)) from None
    if not host or not port:
        raise RequestError(400, f"{addresses.shown(text)!r} names no host and port")
    return addresses.joined(host, port)

"""Rules for header blocks (RFC 9113 section 8). Pure checks; raise ValueError with what is wrong."""

from __future__ import annotations

import re

from konnectivity.http2.events import HeaderList

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_BAD_VALUE = re.compile("[\0\r\n]")
_CONNECTION_SPECIFIC = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
_REQUEST_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})


def check_request(headers: HeaderList) -> int | None:
    """Check a request's headers; return its content-length, if it names one."""
    pseudo = _check_fields(headers, _REQUEST_PSEUDO)
    method = pseudo.get(":method")
    if method is None:
        raise ValueError("request without :method")
    if method == "CONNECT":
        if ":authority" not in pseudo or ":scheme" in pseudo or ":path" in pseudo:
            raise ValueError("CONNECT takes :authority and neither :scheme nor :path")
    elif ":scheme" not in pseudo or not pseudo.get(":path"):
        raise ValueError("request without :scheme or :path")
    return _content_length(headers)


def check_response(headers: HeaderList) -> None:
    status = _check_fields(headers, frozenset({":status"})).get(":status", "")
    if len(status) != 3 or not status.isdecimal():
        raise ValueError(f"response with :status {status!r}")


def check_trailers(headers: HeaderList) -> None:
    _check_fields(headers, frozenset())


def _check_fields(headers: HeaderList, allowed: frozenset[str]) -> dict[str, str]:
    pseudo: dict[str, str] = {}
    regular = False
    for name, value in headers:
        if name.startswith(":"):
            if regular:
                raise ValueError(f"{name} after a regular header")
            if name not in allowed or name in pseudo:
                raise ValueError(f"{name} is not allowed here or stands twice")
            pseudo[name] = value
        else:
            regular = True
            if not _NAME.match(name):
                raise ValueError(f"bad header name {name!r}")
            if name in _CONNECTION_SPECIFIC or (name == "te" and value != "trailers"):
                raise ValueError(f"connection-specific header {name}: {value}")
        if _BAD_VALUE.search(value) or value != value.strip(" \t"):
            raise ValueError(f"bad value of header {name}")
    return pseudo


def _content_length(headers: HeaderList) -> int | None:
    values = {value for name, value in headers if name == "content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not value.isdecimal() or not value.isascii():
        raise ValueError("bad content-length")
    return int(value)

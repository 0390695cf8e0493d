"""Rules for header blocks (RFC 9113 section 8). Pure: every check raises ValueError, which names the broken rule."""

from __future__ import annotations

import re

from konnectivity.http2.events import HeaderList

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_BAD_VALUE = re.compile(rf"[\0\r\n{chr(0xDC80)}-{chr(0xDCFF)}]")  # surrogates: bytes that are not UTF-8
_CONNECTION_SPECIFIC = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
_STATUS = re.compile(r"[1-9][0-9]{2}\Z")
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
_RESPONSE_PSEUDO = frozenset({":status"})
_REQUEST_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})


def check_request(headers: HeaderList) -> int | None:
    """Check the headers of a request (section 8.3.1); return its content-length, or None."""
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


def check_response(headers: HeaderList) -> int:
    """Check the headers of a response (section 8.3.2); return its status."""
    status = _check_fields(headers, _RESPONSE_PSEUDO).get(":status", "")
    if not _STATUS.match(status):
        raise ValueError(f"response with :status {status!r}")
    return int(status)


def check_trailers(headers: HeaderList) -> None:
    """Check trailers, which have no pseudo-header fields (section 8.1)."""
    _check_fields(headers, frozenset())


def _check_fields(headers: HeaderList, allowed: frozenset[str]) -> dict[str, str]:
    """Check all fields (sections 8.2 and 8.3); return the pseudo-header fields."""
    pseudo: dict[str, str] = {}
    regular = False
    for name, value in headers:
        if name.startswith(":"):
            if regular:
                raise ValueError(f"{name!r} after a regular header")
            if name not in allowed or name in pseudo:
                raise ValueError(f"{name!r} is not allowed here or stands twice")
            pseudo[name] = value
        else:
            regular = True
            if not _NAME.match(name):
                raise ValueError(f"bad header name {name!r}")
            if name in _CONNECTION_SPECIFIC or (name == "te" and value != "trailers"):
                raise ValueError(f"connection-specific header {name}: {value!r}")
        if _BAD_VALUE.search(value) or value != value.strip(" \t"):
            raise ValueError(f"bad value of header {name}")
    return pseudo


def _content_length(headers: HeaderList) -> int | None:
    values = {value for name, value in headers if name == "content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not _DIGITS.match(value):
        raise ValueError("bad content-length")
    return int(value)

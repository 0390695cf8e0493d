"""gRPC status codes and messages. Source: the gRPC documents "Status codes" and "PROTOCOL-HTTP2"."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from urllib.parse import quote, unquote

from konnectivity.http2.frames import ErrorCode
from konnectivity.untrusted.untrusted_text import cut


class Code(enum.IntEnum):
    """Status code of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_FROM_HTTP2: dict[int, Code] = {
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_FROM_HTTP = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}
_FROM_NUMBER = {str(int(code)): code for code in Code}
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
MAX_MESSAGE = 1024  # bytes of a `grpc-message`, percent-encoded as sent, and of a decoded message in UTF-8
_CUT = "..."  # ends a message that was cut


@dataclass(frozen=True, slots=True)
class Status:
    """Status at the end of a call.

    Attributes:
        code: gRPC status code.
        message: text for people.
        not_begun: the server has not begun the call, so that it is safe to make it again (RFC 9113 section 8.7).

    """

    code: Code
    message: str = ""
    not_begun: bool = False

    @property
    def ok(self) -> bool:
        """Return whether the call ended without an error."""
        return self.code is Code.OK

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


OK = Status(Code.OK)


class RpcError(Exception):
    """Error that ends a call with a status. A service raises it to refuse a call."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.status = Status(code, message)


def encode_message(message: str) -> str:
    """Percent-encode a `grpc-message`, cut to `MAX_MESSAGE` bytes on a character's boundary.

    Printable ASCII stays as it is, except `%` and the spaces at both ends, which headers do not keep.
    """
    encoded = _percent_encoded(message[:MAX_MESSAGE])
    if len(message) <= MAX_MESSAGE and len(encoded) <= MAX_MESSAGE:
        return encoded
    kept = encoded[: MAX_MESSAGE - len(_CUT)]
    escape = kept.rfind("%", -2)
    if escape >= 0:
        kept = kept[:escape]
    return _percent_encoded(unquote(kept, errors="ignore") + _CUT)


def _percent_encoded(text: str) -> str:
    encoded = quote(text, safe=_PLAIN, errors="replace")
    inner = encoded.lstrip(" ")
    leading = len(encoded) - len(inner)
    inner = inner.rstrip(" ")
    return "%20" * leading + inner + "%20" * (len(encoded) - leading - len(inner))


def decode_message(value: str) -> str:
    """Decode a `grpc-message`, cut to `MAX_MESSAGE` bytes; invalid escapes stay as they are."""
    return cut(unquote(value[: 3 * MAX_MESSAGE + 1], errors="replace"), MAX_MESSAGE)


def from_trailers(headers: list[tuple[str, str]]) -> Status:
    """Return the status in the last header block of a response.

    A block without `grpc-status` is not from a gRPC server: then the HTTP status is translated.
    """
    fields = dict(headers)
    if "grpc-status" not in fields:
        http = fields.get(":status", "")
        code = _FROM_HTTP.get(http, Code.UNKNOWN)
        return Status(code, f"the peer is not a gRPC server: HTTP status {http or 'missing'}")
    code = _FROM_NUMBER.get(fields["grpc-status"], Code.UNKNOWN)
    return Status(code, decode_message(fields.get("grpc-message", "")))


def from_reset(code: int, message: str) -> Status:
    """Return the status for an HTTP/2 stream reset."""
    return Status(_FROM_HTTP2.get(code, Code.INTERNAL), message, not_begun=code == ErrorCode.REFUSED_STREAM)

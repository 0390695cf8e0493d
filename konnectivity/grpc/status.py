"""gRPC status codes and messages. Source: the gRPC documents "Status codes" and "PROTOCOL-HTTP2"."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from urllib.parse import quote, unquote

from konnectivity.http2.frames import ErrorCode
from konnectivity.untrusted.untrusted_text import cut


class Code(enum.IntEnum):
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
    """How a stream ended."""

    code: Code
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.code is Code.OK

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


OK = Status(Code.OK)


class RpcError(Exception):
    """Ends a call with a status; on the server, raised by a service that refuses it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.status = Status(code, message)


def encode_message(message: str) -> str:
    """Percent-encode a `grpc-message`, cut to `MAX_MESSAGE` bytes on a character's boundary.

    Encoded are all characters but printable ASCII, `%`, and the spaces at the ends, which no header keeps.
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
    """Undo `encode_message`, and cut the result to `MAX_MESSAGE` bytes; what is not valid stays as it is."""
    return cut(unquote(value[: 3 * MAX_MESSAGE + 1], errors="replace"), MAX_MESSAGE)


def from_trailers(headers: list[tuple[str, str]]) -> Status:
    """The status that a response's last header block carries.

    A block without `grpc-status` comes from something that is no gRPC server: its HTTP status tells what.
    """
    fields = dict(headers)
    if "grpc-status" not in fields:
        http = fields.get(":status", "")
        code = _FROM_HTTP.get(http, Code.UNKNOWN)
        return Status(code, f"the peer is no gRPC server: HTTP status {http or 'missing'}")
    code = _FROM_NUMBER.get(fields["grpc-status"], Code.UNKNOWN)
    return Status(code, decode_message(fields.get("grpc-message", "")))


def from_reset(code: int, message: str) -> Status:
    """The status that an HTTP/2 stream reset stands for."""
    return Status(_FROM_HTTP2.get(code, Code.INTERNAL), message)

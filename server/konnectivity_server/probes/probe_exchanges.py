"""Exchanges of probes with a target, once it is connected: bytes in, bytes out and a verdict. Pure.

Each kind of probe has one exchange. The answer is read up to the verdict and never kept. Does not know the connection.
"""

from __future__ import annotations

import re
import struct
from hashlib import sha256
from typing import NamedTuple, Protocol

from konnectivity.tls import x509_fields
from konnectivity.untrusted.untrusted_text import cut, visible
from konnectivity_server.probes import path_faults
from konnectivity_server.probes.first_flight import FirstFlight, NotTls
from konnectivity_server.probes.path_faults import PathFault, fault
from konnectivity_server.probes.path_record import ShownCertificate

MAX_NAME = 200  # bytes of a name in a certificate, as it is shown
_MAX_STATUS_LINE = 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([^\r\n]*))?\r?\n")
_RCODES = {1: "the question is malformed", 2: "the server failed", 3: "there is no such name", 5: "the server refuses"}
_QUESTION_ID = 0x4B50
_TYPE_A, _CLASS_IN = 1, 1


class ExchangeStep(NamedTuple):
    """Outcome of a step: bytes to send, and whether the exchange is over, with a fault or without."""

    send: bytes = b""
    over: bool = False
    fault: PathFault | None = None


class Exchange(Protocol):
    """Exchange with a target.

    Attributes:
        certificate: certificate that the target showed.
        polite: whether the connection ends without a reset, which would look like an error to the target.

    """

    certificate: ShownCertificate | None
    polite: bool

    def begin(self) -> ExchangeStep:
        """Return the first step."""

    def feed(self, data: bytes) -> ExchangeStep:
        """Return the step after bytes of the target."""


class TcpExchange:
    """Exchange of a TCP probe: none, the connection is the answer."""

    certificate: ShownCertificate | None = None
    polite = False

    def begin(self) -> ExchangeStep:
        """Return the end."""
        return ExchangeStep(over=True)

    def feed(self, data: bytes) -> ExchangeStep:
        """Return the end."""
        return ExchangeStep(over=True)


class StatusExchange:
    """Exchange of an HTTP probe: a GET, and the status of its response.

    Args:
        host: value of the Host header.
        path: path of the request.

    """

    certificate: ShownCertificate | None = None
    polite = True

    def __init__(self, host: str, path: str) -> None:
        self._request = http_request(host, path)
        self._received = b""

    def begin(self) -> ExchangeStep:
        """Return the request."""
        return ExchangeStep(self._request)

    def feed(self, data: bytes) -> ExchangeStep:
        """Read the status line."""
        self._received += data
        match = _STATUS.match(self._received)
        if match is not None:
            return ExchangeStep(over=True, fault=_status_fault(int(match[1])))
        if b"\n" in self._received or len(self._received) > _MAX_STATUS_LINE:
            shown = visible(self._received[:40].decode("latin-1"))
            text = f"the answer is no HTTP; it begins with {shown!r}"
            return ExchangeStep(over=True, fault=fault(path_faults.STATUS, text))
        return ExchangeStep()


class DnsExchange:
    """Exchange of a DNS probe: a question for IPv4 addresses over TCP, and the code of its answer.

    Args:
        name: name to ask for.

    """

    certificate: ShownCertificate | None = None
    polite = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._received = b""

    def begin(self) -> ExchangeStep:
        """Return the question."""
        return ExchangeStep(dns_question(self._name))

    def feed(self, data: bytes) -> ExchangeStep:
        """Read the head of the answer."""
        self._received += data[:14]
        if len(self._received) < 14:
            return ExchangeStep()
        _, number, flags = struct.unpack(">HHH", self._received[:6])
        if number != _QUESTION_ID or not flags & 0x8000:
            return ExchangeStep(over=True, fault=fault(path_faults.LOOKUP, "the answer is no DNS answer"))
        code = flags & 0xF
        if code == 0:
            return ExchangeStep(over=True)
        text = f"DNS question for {self._name}: {_RCODES.get(code, f'code {code}')}"
        return ExchangeStep(over=True, fault=fault(path_faults.LOOKUP, text))


class HelloExchange:
    """Exchange of a TLS probe that ends behind the target's certificate, without a handshake.

    Args:
        hello: client's first message, for TLS 1.2.
        now: seconds since 1970.
        known: certificate that the target showed before.

    """

    polite = False  # a handshake that ends here is an error anyway

    def __init__(self, hello: bytes, now: float, known: ShownCertificate | None = None) -> None:
        self.certificate: ShownCertificate | None = None
        self._hello = hello
        self._now = now
        self._known = known
        self._flight = FirstFlight()

    def begin(self) -> ExchangeStep:
        """Return the client's first message."""
        return ExchangeStep(self._hello)

    def feed(self, data: bytes) -> ExchangeStep:
        """Read the first flight of the target."""
        try:
            if not self._flight.feed(data):
                return ExchangeStep()
            if self._flight.certificate:
                self.certificate = shown_certificate(self._flight.certificate, self._known)
        except (NotTls, ValueError) as error:
            return ExchangeStep(over=True, fault=fault(path_faults.NO_TLS, str(error)))
        return ExchangeStep(over=True, fault=validity_fault(self.certificate, self._now))


def http_request(host: str, path: str) -> bytes:
    """Return a GET without credentials, after which the target closes the connection."""
    name = "".join(each if "!" <= each <= "~" else "?" for each in host)
    head = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: konnectivity-probe\r\nConnection: close\r\n\r\n"
    return head.encode()


def dns_question(name: str) -> bytes:
    """Return the question for the IPv4 addresses of a name, with its length in front."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.removesuffix(".").split("."))
    message = struct.pack(">6H", _QUESTION_ID, 0x0100, 1, 0, 0, 0) + labels + b"\0"
    message += struct.pack(">2H", _TYPE_A, _CLASS_IN)
    return struct.pack(">H", len(message)) + message


def shown_certificate(der: bytes, known: ShownCertificate | None = None) -> ShownCertificate:
    """Return the fields of a certificate that are shown; `known` if it is the same certificate.

    Raises:
        ValueError: the certificate is malformed.

    """
    digest = sha256(der).digest()
    if known is not None and known.digest == digest:
        return known
    found = x509_fields.parse(der)
    subject, issuer = cut(found.subject, MAX_NAME), cut(found.issuer, MAX_NAME)
    return ShownCertificate(subject, issuer, found.not_after, found.not_before, digest)


def validity_fault(found: ShownCertificate | None, now: float) -> PathFault | None:
    """Return the fault of a certificate that is not valid at a time; None if it is valid, or there is none."""
    if found is None:
        return None
    name = f"the target's certificate, {found.subject or 'without a subject'},"
    if now > found.not_after:
        return fault(path_faults.CERTIFICATE, f"{name} expired {_span(now - found.not_after)} ago")
    if now < found.not_before:
        return fault(path_faults.CERTIFICATE, f"{name} is not valid before {_span(found.not_before - now)} from now")
    return None


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _status_fault(status: int) -> PathFault | None:
    if status < 400:
        return None
    if status in (401, 403):
        return fault(path_faults.AUTHORISATION, f"the target does not authorise the request: HTTP status {status}")
    return fault(path_faults.STATUS, f"HTTP status {status}")

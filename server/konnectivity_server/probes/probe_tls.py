"""TLS of probes: the hello that shows whether a target speaks TLS, and whole handshakes with certificates.

Owns the files, which are read again when they change, and the rate of whole handshakes, which cost more than ten times
as much as a hello. Without a CA no certificate is verified. Does not know the connection below.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

from konnectivity.net.error_texts import words_of
from konnectivity.net.token_bucket import TokenBucket
from konnectivity.tls import ClientTls
from konnectivity.tls.pem_files import Bundle, Pair
from konnectivity_server.probes import path_faults
from konnectivity_server.probes.path_faults import PathFault, fault
from konnectivity_server.probes.path_record import ShownCertificate
from konnectivity_server.probes.probe_exchanges import (
    Exchange,
    ExchangeStep,
    HelloExchange,
    StatusExchange,
    shown_certificate,
    validity_fault,
)

HANDSHAKES_PER_S = 2.0  # whole handshakes of TLS probes; further ones end behind the certificate
BURST = 10
_CHUNK = 64 * 1024
_MAX_HANDSHAKE = 256 * 1024  # bytes of a target before the end of the handshake
_CLIENT_ALERTS = ("certificate required", "bad certificate", "unknown ca", "certificate unknown", "certificate expired")
_HELLOS = 256  # first messages that are kept, by server name


class ProbeTls:
    """TLS of all probes of one server.

    Args:
        ca: PEM file that verifies targets; empty: their certificates are not verified.
        certificate, key: PEM files that targets are shown; empty: none.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.

    Raises:
        TlsError: a file cannot be used.

    """

    def __init__(
        self, ca: str, certificate: str, key: str, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._files = ClientTls(ca, certificate, key, (), make=_context, wall=wall_clock, clock=clock)
        self._always_whole = bool(ca or certificate)
        self._wall_clock = wall_clock
        self._bucket = TokenBucket(HANDSHAKES_PER_S, BURST, clock)
        self._hello = lru_cache(_HELLOS)(_hello_for)

    def exchange(
        self, host: str, then: StatusExchange | None = None, known: ShownCertificate | None = None
    ) -> Exchange:
        """Return the exchange with a target: its TLS and then, inside it, another exchange.

        `known` is the certificate that the target showed before; it is not read again.
        """
        if then is not None or self._always_whole or self._bucket.take():
            return HandshakeExchange(self._files.context(), host, self._wall_clock(), then, known)
        return HelloExchange(self._hello(_server_name(host)), self._wall_clock(), known)


class HandshakeExchange:
    """Exchange of a whole TLS handshake and, if asked, of one request inside it.

    Args:
        context: of a client.
        host: target; a name is told to it.
        now: seconds since 1970.
        then: exchange inside TLS.
        known: certificate that the target showed before.

    """

    polite = True

    def __init__(
        self,
        context: ssl.SSLContext,
        host: str,
        now: float,
        then: StatusExchange | None,
        known: ShownCertificate | None = None,
    ) -> None:
        self.certificate: ShownCertificate | None = None
        self._known = known
        self._now = now
        self._then = then
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = host.strip("[]") if context.check_hostname else _server_name(host)
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name or None)
        self._shaken = False
        self._received = 0

    def begin(self) -> ExchangeStep:
        """Return the client's first message."""
        return self._advance()

    def feed(self, data: bytes) -> ExchangeStep:
        """Take bytes of the target."""
        self._received += len(data)
        if not self._shaken and self._received > _MAX_HANDSHAKE:
            return ExchangeStep(over=True, fault=fault(path_faults.NO_TLS, "the handshake is too long"))
        self._in.write(data)
        return self._advance()

    def _advance(self) -> ExchangeStep:
        try:
            step = self._shake() if not self._shaken else ExchangeStep()
            if not step.over and self._shaken and self._then is not None:
                step = self._inside(self._then)
        except ssl.SSLWantReadError:
            return ExchangeStep(self._out.read())
        except ssl.SSLCertVerificationError as error:
            step = self._untrusted(error)
        except (ssl.SSLError, ValueError) as error:
            step = ExchangeStep(over=True, fault=_refusal(error))
        return ExchangeStep(self._out.read(), step.over, step.fault)

    def _shake(self) -> ExchangeStep:
        self._tls.do_handshake()
        self._shaken = True
        der = self._tls.getpeercert(True) or b""
        self.certificate = shown_certificate(der, self._known) if der else None
        problem = validity_fault(self.certificate, self._now)
        if problem is not None or self._then is None:
            return ExchangeStep(over=True, fault=problem)
        self._tls.write(self._then.begin().send)
        return ExchangeStep()

    def _inside(self, then: StatusExchange) -> ExchangeStep:
        while True:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                text = "the target ended the connection before its response"
                return ExchangeStep(over=True, fault=fault(path_faults.CLOSED, text))
            step = then.feed(data)
            if step.over:
                return step

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> ExchangeStep:
        text = f"the target's certificate is not accepted: {error.verify_message}"
        return ExchangeStep(over=True, fault=fault(path_faults.CERTIFICATE, text))


def _refusal(error: Exception) -> PathFault:
    """Return the fault of a handshake that failed: the target refuses the client's certificate, or speaks no TLS."""
    words = words_of(error)
    if words.endswith(_CLIENT_ALERTS):
        return fault(
            path_faults.AUTHORISATION, f"the target refuses the certificate of --probe-cert, or its lack: {words}"
        )
    return fault(path_faults.NO_TLS, f"TLS: {words}")


def _context(pair: Pair | None, bundle: Bundle | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    if bundle is not None:
        bundle.use(context)
        context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pair is not None:
        pair.use(context)
    return context


def _hello_for(name: str) -> bytes:
    """Return the first message of a client that speaks TLS 1.2, for which certificates are not encrypted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name or None)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def _server_name(host: str) -> str:
    """Return the name that a target is told: empty for an address, or a text that is no name in ASCII."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host.removesuffix(".") if host.isascii() and len(host) <= 253 else ""
    return ""

"""Probe of a TLS listener: its addresses, and for each the outcome of TCP, TLS and HTTP/2. Draws no conclusion."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from konnectivity import tls
from konnectivity.http1 import forward_proxy
from konnectivity.http1.forward_proxy import Proxy, ProxyError
from konnectivity.net.error_texts import words_of
from konnectivity.tool.doctor import service_probe

MAX_ADDRESSES = 16
_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for

Socket = Callable[[], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class Client:
    """Certificate, CA, names and time limit with which the listener is approached."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    alpn: tuple[str, ...] = ("h2",)
    proxy: Proxy | None = None
    timeout_s: float = 5.0
    server_name: str = ""  # TLS server name; empty: the host


@dataclass(slots=True)
class Handshake:
    """Outcome of one TLS handshake; `error` is empty if it completed."""

    error: str = ""
    no_tls: bool = False  # something answered, and not in TLS
    version: str = ""
    alpn: str | None = None
    leaf: bytes = b""  # DER


@dataclass(slots=True)
class Attempt:
    """Outcome at one address of the host. A later part is None if an earlier one failed."""

    address: str
    error: str = ""  # error of TCP or of the proxy
    connect_s: float = 0.0
    bare: Handshake | None = None  # handshake that accepts any certificate
    nameless: Handshake | None = None  # the same without SNI, if the host is a name
    chain: Handshake | None = None  # the chain is verified; not the name, not the time
    answer: service_probe.ServiceAnswer | None = None


@dataclass(slots=True)
class ProbedListener:
    """Facts about a listener."""

    host: str
    port: int
    proxy: str = ""
    error: str = ""  # error of the lookup
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def probe(host: str, port: int, client: Client) -> ProbedListener:
    """Probe every address of a host, or the host once through the proxy, in a few times `client.timeout_s` at most."""
    found = ProbedListener(host, port)
    if client.proxy is not None:
        found.proxy = str(client.proxy)
        through = functools.partial(forward_proxy.open_socket, client.proxy, host, port, client.timeout_s)
        found.attempts = [await _attempt(f"through {client.proxy}", host, through, client)]
        return found
    try:
        addresses = await _look_up(host, port, client.timeout_s)
    except (OSError, UnicodeError) as error:
        found.error = _why(error)
        return found
    attempts = [_attempt(address[0], host, _dialler(family, address, client), client) for family, address in addresses]
    found.attempts = list(await asyncio.gather(*attempts))
    return found


async def _look_up(host: str, port: int, timeout_s: float) -> Sequence[tuple[int, tuple[Any, ...]]]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    unique = {address[0]: (family, address) for family, _, _, _, address in found}
    return list(unique.values())[:MAX_ADDRESSES]


def _dialler(family: int, address: tuple[Any, ...], client: Client) -> Socket:
    async def dial() -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(client.timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    return dial


async def _attempt(name: str, host: str, dial: Socket, client: Client) -> Attempt:
    found = Attempt(name)
    began = monotonic()
    try:
        (await dial()).close()
    except (ProxyError, OSError) as error:
        found.error = _why(error, f"no answer in {client.timeout_s:g} s")
        return found
    found.connect_s = monotonic() - began
    server_name = client.server_name or tls.server_name(host)
    bare = _context(client, verify=False)
    found.bare = await _handshake(dial, bare, server_name, client.timeout_s)
    if found.bare.error:
        return found
    if not _is_address(server_name):
        found.nameless = await _handshake(dial, bare, None, client.timeout_s)
    if client.ca:
        found.chain = await _handshake(dial, _context(client, verify=True), server_name, client.timeout_s)
    if found.bare.alpn == "h2":
        found.answer = await service_probe.knock(dial, bare, server_name, client.timeout_s)
    return found


def _context(client: Client, verify: bool) -> ssl.SSLContext:
    """Return a TLS context from the files that can be used; another check reports those that cannot."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(tls.TlsError):
        context = tls.client_context(client.ca, "", "", client.alpn) if client.ca else context
    context.set_alpn_protocols(list(client.alpn))
    context.check_hostname = False
    if verify:
        context.verify_flags |= _NO_CHECK_TIME
    else:
        context.verify_mode = ssl.CERT_NONE
    if client.certificate:
        with suppress(ssl.SSLError, OSError):
            context.load_cert_chain(client.certificate, client.key)
    return context


async def _handshake(dial: Socket, context: ssl.SSLContext, server_name: str | None, timeout_s: float) -> Handshake:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            sock = await dial()
            # The server name "" means: send no SNI.
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name or "")
        session = writer.get_extra_info("ssl_object")
        leaf = session.getpeercert(binary_form=True) or b""
        return Handshake("", False, session.version() or "", session.selected_alpn_protocol(), leaf)
    except ssl.SSLCertVerificationError as error:
        return Handshake(error.verify_message)
    except ssl.SSLError as error:
        return Handshake(error.reason or str(error), error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"))
    except (ProxyError, OSError) as error:
        return Handshake(_why(error, f"no TLS answer in {timeout_s:g} s"))
    finally:
        if writer is not None:
            writer.transport.abort()


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, name)
            return True
    return False


def _why(error: BaseException, late: str = "no answer") -> str:
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return late
    return words_of(error)

"""Forward proxy between an agent and a server: selection by environment variables, and CONNECT exchange.

Owns the rules of HTTPS_PROXY and NO_PROXY, and the socket until the proxy has connected it to the server. Does not know
TLS, nor what the connection is for. Everything but `open_socket` is pure.
"""

from __future__ import annotations

import asyncio
import re
import socket
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from konnectivity import __version__
from konnectivity.http1.message_heads import HeadError, HeadFault, ResponseHeads, status_line_of
from konnectivity.net.addresses import is_loopback
from konnectivity.net.error_texts import words_of
from konnectivity.net.happy_eyeballs import connect_any
from konnectivity.untrusted.numbers import parse_decimal

MAX_HEAD = 16 * 1024  # bytes of the proxy's response head
TIMEOUT_S = 20.0  # for TCP to the proxy and its response, before which it connects to the server
HTTP_PORT = 80
_FORM = "expected http://host:port or http://user:password@host:port, with %XX for special characters in the last two"
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_HOST = re.compile("[!-~]+")
_REASON_LENGTH = 200
_SHOWN = 20  # bytes of an answer that is no HTTP, in the error
_OK, _UNAUTHORIZED = 200, 407  # HTTP statuses

Ip = IPv4Address | IPv6Address


class ProxyError(ConnectionError):
    """Failure to connect through the proxy; `str()` has the reason."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """HTTP proxy. Its text has no credentials."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)  # the header's value; empty: no credentials

    def __str__(self) -> str:
        return _joined(self.host, self.port)


def choose(environment: Mapping[str, str], host: str, port: int) -> Proxy | None:
    """Return the proxy for connections to a server, or None for a direct connection.

    Raises:
        ValueError: the variable is set, but its value is no URL of an HTTP proxy.

    """
    variable = _variable(environment, "https_proxy")
    if not variable or _direct(environment.get(_variable(environment, "no_proxy"), ""), host, port):
        return None
    return _parse(variable, environment[variable])


def connect_request(proxy: Proxy, host: str, port: int) -> bytes:
    """Return the CONNECT request for a server. The proxy resolves the name.

    Raises:
        ProxyError: the host cannot be written in a request.

    """
    name = _ascii(host)
    if not _HOST.fullmatch(name):
        raise ProxyError(f"{host!r} is no host name that a proxy can be asked for")
    where = _joined(name, port)
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}", f"User-Agent: konnectivity-python/{__version__}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class ProxyAnswer:
    """Response of the proxy to CONNECT, read as its bytes arrive.

    Attributes:
        complete: whether a whole response has accepted the request; all later bytes are the server's.

    """

    def __init__(self, proxy: Proxy) -> None:
        self.complete = False
        self._proxy = proxy
        self._heads = ResponseHeads(MAX_HEAD)
        self._beginning = b""

    def receive(self, data: bytes) -> int:
        """Take received bytes (none: the proxy closed) and return how many of them belong to the response.

        Raises:
            ProxyError: the response refuses the request, or is not HTTP.

        """
        if not data:
            raise ProxyError(f"the proxy {self._proxy} closed the connection without an answer")
        self._beginning = (self._beginning + data)[:_SHOWN]
        self._heads.feed(data)
        try:
            head = self._heads.take()
        except HeadError as error:
            if error.fault is HeadFault.NOT_HTTP:
                raise self._not_http() from error
            raise ProxyError(f"the answer of the proxy {self._proxy} is longer than {MAX_HEAD} bytes") from error
        if head is None:
            return len(data)
        self._judge(head)
        self.complete = True
        return len(data) - len(self._heads)

    def _judge(self, head: bytes) -> None:
        line = status_line_of(head)
        if line is None:
            raise self._not_http()
        said = f"{line.status} {_printable(line.reason)}".rstrip()
        if line.status == _UNAUTHORIZED and self._proxy.authorization:
            raise ProxyError(f"the proxy {self._proxy} does not accept the user and password in HTTPS_PROXY ({said})")
        if line.status == _UNAUTHORIZED:
            raise ProxyError(f"the proxy {self._proxy} wants a user and password in HTTPS_PROXY ({said}): {_FORM}")
        if not _OK <= line.status < _OK + 100:
            raise ProxyError(f"the proxy {self._proxy} refuses: {said}")

    def _not_http(self) -> ProxyError:
        return ProxyError(f"{self._proxy} is no HTTP proxy: its answer begins with {self._beginning!r}")


async def open_socket(proxy: Proxy, host: str, port: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """Return a socket that the proxy has connected to the server. No byte of the server has been read from it.

    Raises:
        ProxyError: the proxy cannot be reached, refuses, or does not respond in time.

    """
    request = connect_request(proxy, host, port)
    try:
        async with asyncio.timeout(timeout_s):
            sock = await _connected(proxy)
            try:
                await asyncio.get_running_loop().sock_sendall(sock, request)
                await _accepted(sock, ProxyAnswer(proxy))
            except BaseException:
                sock.close()
                raise
            return sock
    except ProxyError:
        raise
    except TimeoutError as error:
        raise ProxyError(f"no answer from the proxy {proxy} within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:
        raise ProxyError(f"cannot connect through the proxy {proxy}: {words_of(error)}") from error


async def _connected(proxy: Proxy) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    return await connect_any(found)


async def _accepted(sock: socket.socket, answer: ProxyAnswer) -> None:
    """Read the response, and leave the bytes after it in the socket."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(sock, arrived.set)
    try:
        while not answer.complete:
            await arrived.wait()
            arrived.clear()
            with suppress(BlockingIOError):
                sock.recv(answer.receive(sock.recv(MAX_HEAD, socket.MSG_PEEK)))
    finally:
        loop.remove_reader(sock)


def _variable(environment: Mapping[str, str], name: str) -> str:
    """Return the name of the variable that has a value, in lower or upper case, or an empty text."""
    return next((each for each in (name, name.upper()) if environment.get(each)), "")


def _parse(variable: str, value: str) -> Proxy:
    # No error shows the value, or a part of it, which may be a part of the password.
    text = value.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        if _BLANK.search(text):
            raise ValueError
        url = urlsplit(text)
        port = HTTP_PORT if url.port is None else url.port
    except ValueError:
        raise ValueError(f"{variable} is no URL of a proxy: {_FORM}") from None
    if url.scheme == "https":
        raise ValueError(f"{variable}: TLS to a proxy (https://) is not supported; if it takes HTTP, write http://")
    if url.scheme != "http":
        raise ValueError(f"{variable}: only HTTP proxies are supported, not {url.scheme or 'others'}: {_FORM}")
    if not url.hostname or not port or "@" in url.path + url.query + url.fragment:
        raise ValueError(f"{variable} is no URL of a proxy: {_FORM}")
    return Proxy(url.hostname, port, _basic(url))


def _basic(url: SplitResult) -> str:
    if url.username is None:
        return ""
    pair = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password or "")
    return f"Basic {b64encode(pair).decode('ascii')}"


def _direct(rules: str, host: str, port: int) -> bool:
    """Return whether NO_PROXY excepts a server, or the server is on a loopback address."""
    name = _ascii(host.strip().lower())
    address = _ip(name)
    if is_loopback(name):
        return True
    return any(_matches(rule.strip().lower(), name, address, str(port)) for rule in rules.split(","))


def _matches(rule: str, name: str, address: Ip | None, port: str) -> bool:
    if rule == "*":
        return True
    if "/" in rule:
        return address is not None and _contains(rule, address)
    wanted, wanted_port = _split(rule)
    if not wanted or wanted_port not in ("", port):
        return False
    wanted_address = _ip(wanted)
    if address is not None or wanted_address is not None:
        return address == wanted_address
    domain = _ascii(wanted.removeprefix("*") if wanted.startswith("*.") else wanted)
    return name.endswith(domain) if domain.startswith(".") else f".{name}".endswith(f".{domain}")


def _contains(rule: str, address: Ip) -> bool:
    if parse_decimal(rule.rpartition("/")[2], 128) is None:  # ipaddress takes masks as well
        return False
    with suppress(ValueError):
        return address in ip_network(rule, strict=False)
    return False


def _split(rule: str) -> tuple[str, str]:
    """Return host and port of a rule; the port is empty if it could be a part of an IPv6 address."""
    if bracketed := re.fullmatch(r"\[(.*)\]:(.*)", rule):
        return bracketed[1], bracketed[2]
    host, _, port = rule.partition(":")
    return (rule, "") if ":" in port else (host, port)


def _ip(text: str) -> Ip | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _ascii(name: str) -> str:
    """Return a name in the ASCII form of DNS, or unchanged if it has none."""
    try:
        return ".".join(each if each.isascii() else each.encode("idna").decode("ascii") for each in name.split("."))
    except UnicodeError:
        return name


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:_REASON_LENGTH])

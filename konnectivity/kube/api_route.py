"""Route to the Kubernetes API: address, TLS, and the proxy of the kubeconfig if there is one.

`connect` opens one connection, which belongs to its caller. Through a proxy the API is always reached by CONNECT.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from konnectivity.kube.api_access import Access
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.api_tls import proxy_context, tls_context
from konnectivity.kube.http_connection import CLOSE_TIMEOUT_S, HttpConnection
from konnectivity.net.error_texts import NO_SUCH_HOST
from konnectivity.net.happy_eyeballs import connect_any
from konnectivity.tls.contexts import server_name

_PORTS = {"https": 443, "http": 80}


class ApiRoute:
    """Way to the API of one access, with the certificates of the moment it was made.

    Args:
        access: the server, the proxy and the certificates.

    Raises:
        KubeError: a certificate, a key, a CA bundle or the proxy's URL cannot be used.

    """

    def __init__(self, access: Access) -> None:
        url = urlsplit(access.server)
        self.authority = url.netloc.rpartition("@")[2]  # for the Host header
        self._host, self._port = url.hostname or "", url.port or _PORTS[url.scheme]
        self._name = access.server_name or server_name(self._host)
        self._tls = tls_context(access) if url.scheme == "https" else None
        self._proxy = _proxy_of(access) if access.proxy else None
        secure = self._proxy is not None and self._proxy.scheme == "https"
        self._proxy_tls = proxy_context() if secure else None

    async def connect(self) -> HttpConnection:
        """Return a new connection to the API.

        Raises:
            OSError: no address answers, the proxy refuses, or a certificate is not trusted.

        """
        proxy = self._proxy
        if proxy is None:
            return await _open(self._host, self._port, self._tls, self._name)
        host, port = proxy.hostname or "", proxy.port or _PORTS[proxy.scheme]
        connection = await _open(host, port, self._proxy_tls, server_name(host))
        try:
            await self._pass(connection, proxy)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _pass(self, connection: HttpConnection, proxy: SplitResult) -> None:
        """Ask the proxy for the API, and begin TLS with that."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        target = f"{host}:{self._port}"
        headers = [("Host", target)]
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            headers.append(("Proxy-Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
        head = await connection.exchange("CONNECT", target, headers)
        if not 200 <= head.status < 300:
            where = f"{proxy.hostname}:{proxy.port or _PORTS[proxy.scheme]}"
            raise ConnectionRefusedError(f"the proxy {where} refuses: {head.status} {head.reason}".rstrip())
        await connection.start_tunnel(self._tls, self._name)


def _proxy_of(access: Access) -> SplitResult:
    shown = access.proxy.rpartition("@")[2]  # an error shows no password
    try:
        url = urlsplit(access.proxy)
        port = url.port
    except ValueError as error:
        raise KubeError(f"{access.source}: proxy-url {shown!r}: {error}") from error
    if url.scheme not in _PORTS or not url.hostname or port == 0:
        raise KubeError(f"{access.source}: proxy-url {shown!r}: expected http://HOST:PORT or https://HOST:PORT")
    return url


async def _open(host: str, port: int, context: ssl.SSLContext | None, name: str) -> HttpConnection:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(NO_SUCH_HOST) from error
    sock = await connect_any(found)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = {"ssl": context, "server_hostname": name, "ssl_shutdown_timeout": CLOSE_TIMEOUT_S} if context else {}
        reader, writer = await asyncio.open_connection(sock=sock, **secure)  # type: ignore[arg-type]  # of mixed types
    except BaseException:
        sock.close()
        raise
    return HttpConnection(reader, writer)

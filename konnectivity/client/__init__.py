"""asyncio client: connections to "host:port" through a proxy server, over each of its four frontends.

    async with connect("unix:/run/konnectivity.sock", mode="http-connect") as tunnel:
        reader, writer = await tunnel.dial("10.0.0.7:10250")

`mode` is "grpc" or "http-connect"; the address is "unix:/path" or "/path" (cleartext) or "host:port" (TLS, with `tls`).
A dial that fails raises `konnectivity.errors.DialError`, whose `failure` is the kind of failure; a connection that
breaks later raises `TunnelLost` from the reader.

client_tunnel       what both modes share; connect_tunnel and grpc_tunnel are the two modes
client_dial_tunnel  tunnel that grpc_tunnel makes for each dial
target_writer       writer of every connection, for TLS with the target
byte_pump           pump between two connections
socket_bridge       sockets for code that wants one; blocking_client for code without an event loop
httpx_transport, aiohttp_connector    the same for these two libraries, which are no dependencies
frontend_address    where the server listens, and how a connection to it is made
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel, check_text
from konnectivity.client.frontend_address import FrontendAddress
from konnectivity.errors import DialError, DialFailure, TunnelLost
from konnectivity.tls import client_context

if TYPE_CHECKING:
    from konnectivity.client.connect_tunnel import ConnectTunnel
    from konnectivity.client.grpc_tunnel import GrpcTunnel

__all__ = [
    "DIAL_TIMEOUT_S",
    "MODES",
    "ClientTunnel",
    "ConnectTunnel",
    "DialError",
    "DialFailure",
    "GrpcTunnel",
    "Mode",
    "TunnelLost",
    "connect",
    "tls_context",
]

Mode = Literal["grpc", "http-connect"]
MODES: tuple[Mode, ...] = ("grpc", "http-connect")


@asynccontextmanager
async def connect(
    address: str,
    mode: Mode = "http-connect",
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    token: str | None = None,
) -> AsyncIterator[ClientTunnel]:
    """Use the proxy server's frontend at `address`, which is reached at the first dial.

    Args:
        address: "unix:/path", "/path" or "host:port".
        mode: protocol of the frontend, "grpc" or "http-connect".
        tls: client context for TCP (`tls_context` makes one); not for unix sockets.
        server_name: name that the server's certificate must carry, if it is not the host.
        token: shown to the server, whose policy on frontends may name it.

    Raises:
        ValueError: the address, the mode, the context or the token is malformed.

    """
    check_text("address", address)
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ValueError(f"tls must be a context of tls_context(...), not {tls!r}")
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: must be {' or '.join(MODES)}")
    frontend = FrontendAddress(address, tls, server_name, token)
    tunnel = tunnel_to(frontend, mode)
    try:
        yield tunnel
    finally:
        await tunnel.close()


def tunnel_to(frontend: FrontendAddress, mode: Mode) -> ClientTunnel:
    """Return a tunnel to a frontend. Each mode is loaded when it is used: HTTP/2 takes memory."""
    if mode == "http-connect":
        from konnectivity.client.connect_tunnel import ConnectTunnel

        return ConnectTunnel(frontend)
    from konnectivity.client.grpc_tunnel import GrpcTunnel

    return GrpcTunnel(frontend)


def __getattr__(name: str) -> Any:
    """Load the class of one mode when it is asked for."""
    if name == "ConnectTunnel":
        from konnectivity.client.connect_tunnel import ConnectTunnel

        return ConnectTunnel
    if name == "GrpcTunnel":
        from konnectivity.client.grpc_tunnel import GrpcTunnel

        return GrpcTunnel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def tls_context(ca: str, certificate: str, key: str, mode: Mode) -> ssl.SSLContext:
    """Return a client context for a frontend's TLS, made from PEM files."""
    return client_context(ca, certificate, key, alpn=("h2",) if mode == "grpc" else ("http/1.1",))

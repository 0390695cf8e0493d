"""Tests of TLS handshakes that are never finished: they leak nothing, and do not delay honest clients."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
from contextlib import suppress

import pytest
from attack_site import MIB, honest, measured, memory_returns

from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.implementations import implementation
from konnectivity.net.socket_listeners import admit_tcp
from konnectivity.net.source_limit import SourceLimits
from konnectivity.testing.deployment import free_port
from konnectivity.tls import ClientTls, ServerTls
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent import server_connection
from konnectivity_agent.pool_plan import DialAddress
from konnectivity_agent.server_greeting import AgentIdentity

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
KINDS = {  # way to break off -> number of clients; `answered` and `refused` cost each client a handshake
    "nothing said": 6000,
    "half a hello": 5000,
    "a whole hello": 3000,
    "no TLS": 4000,
    "answered": 1000,
    "refused": 1000,
}


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def leave(port: int, kind: str, hello: bytes, context: ssl.SSLContext) -> None:
    """Connect once and break off in the way that `kind` names."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    with suppress(OSError), connection:
        if kind == "refused":
            with context.wrap_socket(connection, server_hostname="127.0.0.1") as session:
                session.recv(100)
        elif kind != "nothing said":
            connection.sendall({"half a hello": hello[:100], "no TLS": b"GET / HTTP/1.1\r\n\r\n"}.get(kind, hello))
            if kind in ("answered", "no TLS"):
                connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


@pytest.mark.parametrize("limit", ["0", "100000"], ids=["any number per source", "limited per source"])
@pytest.mark.parametrize("kind", KINDS)
async def test_unfinished_handshakes_leave_nothing(site, kind, limit):
    server = site.server(f"--max-connections-per-source={limit}")
    site.agent()
    context = ssl.create_default_context(cafile=site.path("ca.crt"))
    context.set_alpn_protocols(["h2"])
    hello = client_hello(context)
    number = KINDS[kind] // (1 if limit == "0" else 4)

    def attack(count: int) -> None:
        for _ in range(count):
            leave(site.agent_port, kind, hello, context)

    await asyncio.to_thread(attack, 200)  # create caches and other objects that are made once
    async with honest(site) as client, measured(server) as cost:
        await asyncio.to_thread(attack, number)
    client.check()
    assert cost.memory_growth < 8 * MIB
    assert cost.log_bytes < 64 * 1024
    await memory_returns(server, cost.memory_before, slack=0)


class Ignored:
    """Receiver of the events of a connection that has no events."""

    def verdict_changed(self, server):
        return

    def server_draining(self, server):
        return

    def server_count_announced(self, server, count):
        return


async def test_a_client_that_is_refused_again_and_again_leaves_nothing(site):
    """An agent without a certificate that retries forever causes no leak in the server."""
    files = (site.path("ca.crt"), "", "")
    settings = server_connection.ServerConnectionSettings(
        ClientTls(*files, ["h2"]), implementation("native"), 3600.0, 0.0, 65536
    )
    listener = ServerTls(site.path("server.crt"), site.path("server.key"), site.path("ca.crt"), ["h2"])
    port = free_port()

    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Http2ClientTransport) for each in gc.get_objects())

    async with asyncio.TaskGroup() as tasks:
        door = await admit_tcp("tests", "127.0.0.1", port, listener.context, asyncio.Protocol, SourceLimits(tasks))
        before = alive()
        for _ in range(50):
            with pytest.raises(server_connection.CONNECT_ERRORS, match="certificate required"):
                await server_connection.connect(
                    DialAddress("127.0.0.1", port),
                    Ignored(),
                    settings,
                    AgentIdentity("agent"),
                    TunnelOptions(),
                    lambda dial: None,
                    tasks,
                )
        await asyncio.sleep(0.1)
        assert alive() <= before + 1
        door.close()

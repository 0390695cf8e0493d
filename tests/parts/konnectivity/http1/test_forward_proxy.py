"""Connections through a forward proxy, with real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager

import pytest

from konnectivity import tls
from konnectivity.grpc.implementations import implementation
from konnectivity.http1.forward_proxy import (
    Proxy,
    ProxyError,
    open_socket,
)
from konnectivity.tool.pki.authority import Authority
from konnectivity_agent import server_connection
from konnectivity_agent.pool_plan import DialAddress
from support import targets
from support.forward_proxy_server import ForwardProxy
from support.targets import listening

SERVER = ("konnectivity.example.com", 8132)


def proxy_at(port, authorization=""):
    return Proxy("127.0.0.1", port, authorization)


def saying(*pieces, end=False):
    """Run a proxy that reads the request and then sends the given answer."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if not end:
            await reader.read()

    return serve


@asynccontextmanager
async def proxy_saying(*pieces, end=False):
    async with listening(saying(*pieces, end=end)) as address:
        yield proxy_at(int(address.rpartition(":")[2]))


async def test_a_socket_through_the_proxy_carries_both_ways():
    async with listening(targets.echo) as address:
        with ForwardProxy({"echo.test": "127.0.0.1"}) as forward:
            port = int(address.rpartition(":")[2])
            sock = await open_socket(proxy_at(forward.port), "echo.test", port)
            reader, writer = await asyncio.open_connection(sock=sock)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            assert forward.targets == [f"echo.test:{port}"]


@pytest.mark.parametrize(
    "pieces", [(b"HTTP/1.1 200 OK\r\n\r\nearly",), (b"HTTP/1.1 2", b"00 OK\r\n\r", b"\nea", b"rly")]
)
async def test_what_the_server_says_at_once_is_not_lost(pieces):
    async with proxy_saying(*pieces) as proxy:
        sock = await open_socket(proxy, *SERVER)
        reader, writer = await asyncio.open_connection(sock=sock)
        assert await reader.readexactly(5) == b"early"
        writer.close()


async def test_a_proxy_that_is_silent_is_given_up():
    async with proxy_saying(b"HTTP/1.1 200 OK\r\n") as proxy:
        with pytest.raises(ProxyError, match=rf"no answer from the proxy {proxy} within 0\.2 s"):
            await open_socket(proxy, *SERVER, timeout_s=0.2)


async def test_a_proxy_that_closes_or_is_not_there():
    async with proxy_saying(end=True) as proxy:
        with pytest.raises(ProxyError, match=f"the proxy {proxy} closed the connection without an answer"):
            await open_socket(proxy, *SERVER)
    with pytest.raises(ProxyError, match=f"cannot connect through the proxy {proxy}: connection refused"):
        await open_socket(proxy, *SERVER)
    with pytest.raises(ProxyError, match=r"cannot connect through the proxy a\.\.b:1: "):
        await open_socket(Proxy("a..b", 1), *SERVER)


async def test_giving_up_leaves_no_socket():
    closed = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()
        closed.set()

    async with listening(silent) as address, asyncio.timeout(5):
        proxy = proxy_at(int(address.rpartition(":")[2]))
        task = asyncio.create_task(open_socket(proxy, *SERVER))
        await asyncio.sleep(0.1)
        assert not closed.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


async def test_tls_that_fails_behind_the_proxy_leaves_no_socket(tmp_path):
    authority = Authority.create("test")
    authority.write(tmp_path)
    client = tls.ClientTls(str(tmp_path / "ca.crt"), "", "", ["h2"])
    closed = asyncio.Event()

    async def no_tls(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nthis is no TLS, nor anything like it")
        await reader.read()
        closed.set()

    async with listening(no_tls) as address, asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        proxy = proxy_at(int(address.rpartition(":")[2]))
        settings = server_connection.ServerConnectionSettings(
            client, implementation("native"), 3600.0, 0.0, 65536, {SERVER: proxy}
        )
        with pytest.raises(ssl.SSLError):
            await server_connection._channel(DialAddress(*SERVER), settings, tasks)
        await closed.wait()


async def test_the_proxy_is_found_by_its_name_at_any_of_its_addresses():
    found = {family for family, *_ in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    assert socket.AF_INET in found
    async with proxy_saying(b"HTTP/1.1 200 OK\r\n\r\n") as proxy:
        sock = await open_socket(Proxy("localhost", proxy.port), *SERVER)
        assert sock.getpeername() == ("127.0.0.1", proxy.port)
        sock.close()

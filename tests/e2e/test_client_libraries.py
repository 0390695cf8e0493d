"""Tests of httpx, aiohttp, plain sockets and blocking code through the tunnel, in both modes, with and without TLS."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from contextlib import suppress

import aiohttp
import httpx
import pytest

from konnectivity.client import DialError, connect
from konnectivity.client.aiohttp_connector import TunnelConnector
from konnectivity.client.blocking_client import BlockingTunnel
from konnectivity.client.httpx_transport import TunnelTransport
from konnectivity.client.socket_bridge import bridged_socket
from support import targets
from support.targets import listening
from support.web_target import web_target

WAYS = [("grpc", True), ("http-connect", True), ("http-connect", False)]
every_way = pytest.mark.parametrize(("mode", "unix"), WAYS, ids=["grpc", "connect", "connect-tls"])
SIZE = 2_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    (directory / "large").write_bytes(b"x" * SIZE)
    return directory


@pytest.fixture(scope="module")
def plain(site):
    with web_target(site) as target:
        yield target


@pytest.fixture(scope="module")
def secure(deployment, site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    with web_target(site, context) as target:
        yield target


@pytest.fixture
def trusted(deployment):
    return ssl.create_default_context(cafile=deployment.path("ca.crt"))


@every_way
async def test_httpx(deployment, plain, secure, trusted, mode, unix):
    before = plain.connections
    async with connect(**deployment.frontend(mode, unix)) as tunnel:
        async with httpx.AsyncClient(transport=TunnelTransport(tunnel, trusted), timeout=20) as client:
            for _ in range(3):
                answer = await client.get(f"http://localhost:{plain.server_port}/large")
                assert (answer.status_code, len(answer.content)) == (200, SIZE)
            answer = await client.post(f"http://localhost:{plain.server_port}/", content=b"x" * SIZE)
            assert answer.text == f"{SIZE} bytes"
            answer = await client.get(f"https://localhost:{secure.server_port}/large")
            assert len(answer.content) == SIZE
            with pytest.raises(httpx.ConnectError, match="connection refused"):
                await client.get("http://127.0.0.1:1/")
        async with httpx.AsyncClient(transport=TunnelTransport(tunnel), timeout=20) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(f"https://localhost:{secure.server_port}/large")
    assert plain.connections == before + 1  # connections are kept


async def test_httpx_and_a_destination_that_is_slow_or_breaks(deployment):
    async def broken(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        writer.close()

    async with connect(**deployment.frontend("http-connect", True)) as tunnel:
        async with httpx.AsyncClient(transport=TunnelTransport(tunnel), timeout=0.3) as client:
            async with listening(targets.sleeper) as address:
                with pytest.raises(httpx.ReadTimeout):
                    await client.get(f"http://{address}/")
            async with listening(broken) as address:
                with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                    await client.get(f"http://{address}/", timeout=20)


@every_way
async def test_aiohttp(deployment, plain, secure, trusted, mode, unix):
    before = plain.connections
    async with connect(**deployment.frontend(mode, unix)) as tunnel:
        async with aiohttp.ClientSession(connector=TunnelConnector(tunnel, trusted)) as session:
            for _ in range(3):
                async with session.get(f"http://localhost:{plain.server_port}/large") as answer:
                    assert (answer.status, len(await answer.read())) == (200, SIZE)
            async with session.post(f"http://localhost:{plain.server_port}/", data=b"x" * SIZE) as answer:
                assert await answer.text() == f"{SIZE} bytes"
            async with session.get(f"https://localhost:{secure.server_port}/large") as answer:
                assert len(await answer.read()) == SIZE
            with pytest.raises(aiohttp.ClientConnectorError, match="refused"):
                await session.get("http://127.0.0.1:1/")
        async with aiohttp.ClientSession(connector=TunnelConnector(tunnel)) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://localhost:{secure.server_port}/large")
    assert plain.connections == before + 1


@every_way
async def test_a_socket_for_other_code(deployment, secure, trusted, mode, unix):
    """http.client over TLS in a thread, on a socket of the bridge."""

    def fetch(sock):
        with trusted.wrap_socket(sock, server_hostname="localhost") as session:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = session
            connection.request("GET", "/large", headers={"Connection": "close"})
            return connection.getresponse().read()

    async with connect(**deployment.frontend(mode, unix)) as tunnel:
        async with bridged_socket(tunnel, f"127.0.0.1:{secure.server_port}") as sock:
            assert len(await asyncio.to_thread(fetch, sock)) == SIZE
        with pytest.raises(DialError, match="connection refused"):
            async with bridged_socket(tunnel, "127.0.0.1:1"):
                pass


async def test_a_connection_that_breaks_is_a_reset_of_the_socket(deployment):
    async def reset(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with listening(reset) as address, connect(**deployment.frontend("grpc", True)) as tunnel:
        async with bridged_socket(tunnel, address) as sock:
            sock.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(sock.recv, 10)


@every_way
def test_code_without_an_event_loop(deployment, plain, mode, unix):
    with BlockingTunnel(**deployment.frontend(mode, unix)) as tunnel:
        for _ in range(3):
            with tunnel.dial(f"localhost:{plain.server_port}") as sock:
                sock.sendall(b"GET /large HTTP/1.0\r\n\r\n")
                with sock.makefile("rb") as answer:
                    assert answer.read().endswith(b"x" * SIZE)
        with pytest.raises(DialError, match="connection refused"):
            tunnel.dial("127.0.0.1:1")
        left = tunnel.dial(f"localhost:{plain.server_port}")
    with left, suppress(ConnectionResetError):
        assert left.recv(1) == b""
    with pytest.raises(RuntimeError, match="the tunnel is not open"):
        tunnel.dial("127.0.0.1:1")


def test_a_wrong_argument_is_told_before_the_first_dial():
    with pytest.raises(ValueError, match="must be grpc or http-connect"):
        with BlockingTunnel("/x", mode="other"):
            pass

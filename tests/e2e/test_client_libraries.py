"""Tests of httpx, aiohttp, plain sockets and blocking code through the tunnel, in both modes, with and without TLS."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import socket
import ssl
import threading
import time
from pathlib import Path

import aiohttp
import httpx
import pytest

from konnectivity.client import DialError, DialFailure, connect
from konnectivity.client.aiohttp_connector import TunnelConnector
from konnectivity.client.blocking_client import BlockingTunnel
from konnectivity.client.byte_pump import BytePump
from konnectivity.client.httpx_transport import TunnelTransport
from konnectivity.client.socket_bridge import bridged_socket
from konnectivity.client.target_writer import unread_bytes
from support import targets
from support.targets import listening

WAYS = [("grpc", True), ("http-connect", True), ("http-connect", False)]
every_way = pytest.mark.parametrize(("mode", "unix"), WAYS, ids=["grpc", "connect", "connect-tls"])
SIZE = 3_000_000  # bytes of the large page
NAME = "konnectivity client"  # of a blocking tunnel's thread


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
            async with session.post(f"http://localhost:{plain.server_port}/", data=io.BytesIO(b"x" * SIZE)) as answer:
                assert await answer.text() == f"{SIZE} bytes"
            async with session.get(f"https://localhost:{secure.server_port}/large") as answer:
                assert len(await answer.read()) == SIZE
            with pytest.raises(aiohttp.ClientConnectorError, match="refused"):
                await session.get("http://127.0.0.1:1/")
        async with aiohttp.ClientSession(connector=TunnelConnector(tunnel)) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://localhost:{secure.server_port}/large")
    assert plain.connections == before + 1


async def test_aiohttp_and_its_own_arguments_for_tls(deployment, secure, trusted):
    """A request's fingerprint, context and server name win over the connector's."""
    url = f"https://127.0.0.1:{secure.server_port}/large"
    der = ssl.PEM_cert_to_DER_cert(Path(deployment.path("server.crt")).read_text())
    pinned, other = (aiohttp.Fingerprint(hashlib.sha256(each).digest()) for each in (der, b""))
    async with connect(**deployment.frontend("grpc", True)) as tunnel:
        async with aiohttp.ClientSession(connector=TunnelConnector(tunnel, force_close=True)) as session:
            for arguments in ({"ssl": pinned}, {"ssl": False}, {"ssl": trusted, "server_hostname": "localhost"}):
                async with session.get(url, **arguments) as answer:
                    assert answer.status == 200, arguments
            with pytest.raises(aiohttp.ServerFingerprintMismatch):
                await session.get(url, ssl=other)
            with pytest.raises(ValueError, match="use no proxy="):
                await session.get(url, proxy="http://127.0.0.1:1")


async def test_aiohttp_and_a_destination_that_is_slow_or_leaves(deployment):
    async def leaves(reader, writer):
        writer.close()

    patient = aiohttp.ClientTimeout(total=20)
    async with connect(**deployment.frontend("http-connect", True)) as tunnel:
        async with aiohttp.ClientSession(connector=TunnelConnector(tunnel), timeout=patient) as session:
            async with listening(targets.sleeper) as address:
                with pytest.raises(aiohttp.ServerTimeoutError):
                    await session.get(f"http://{address}/", timeout=aiohttp.ClientTimeout(sock_read=0.3))
                with pytest.raises(aiohttp.ServerTimeoutError):
                    await session.get(f"https://{address}/", timeout=aiohttp.ClientTimeout(sock_connect=0.3))
            async with listening(leaves) as address:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await session.get(f"http://{address}/")


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_cleartext_before_tls_is_refused(deployment, secure, trusted, mode):
    """Bytes that somebody on the way puts before the handshake would be read as if the target had sent them."""

    async def inject(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
        onward, back = await asyncio.open_connection("127.0.0.1", secure.server_port)
        await BytePump((reader, writer), (onward, back)).run()

    async with listening(inject) as address, connect(**deployment.frontend(mode, True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        while not unread_bytes(reader):
            await asyncio.sleep(0.01)
        with pytest.raises(ConnectionAbortedError, match="in cleartext before the TLS handshake"):
            await writer.start_tls(trusted, server_hostname="localhost")
        assert writer.is_closing()


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
        with pytest.raises(ZeroDivisionError):  # no group of exceptions
            async with bridged_socket(tunnel, f"127.0.0.1:{secure.server_port}"):
                raise ZeroDivisionError


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
def test_code_without_an_event_loop(deployment, plain, site, mode, unix):
    with BlockingTunnel(**deployment.frontend(mode, unix)) as tunnel:
        for _ in range(3):
            with tunnel.dial(f"localhost:{plain.server_port}") as sock:
                sock.sendall(b"GET /large HTTP/1.0\r\n\r\n")
                with sock.makefile("rb") as answer:
                    assert answer.read().endswith((site / "large").read_bytes())
        with pytest.raises(DialError, match="connection refused"):
            tunnel.dial("127.0.0.1:1")
        with pytest.raises(ValueError, match="timeout_s"):
            tunnel.dial("127.0.0.1:1", timeout_s="soon")
        left = tunnel.dial(f"localhost:{plain.server_port}")
    with left, pytest.raises(ConnectionResetError):
        left.recv(1)
    with pytest.raises(RuntimeError, match="the tunnel is not open"):
        tunnel.dial("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="opens once"), tunnel:
        pass
    assert NAME not in [thread.name for thread in threading.enumerate()]


def test_a_blocking_tunnel_that_closes_ends_the_dials_of_other_threads(tmp_path):
    """The frontend accepts the connection and never answers."""
    failures = []

    def dial(tunnel):
        try:
            tunnel.dial("10.0.0.7:80")
        except DialError as error:
            failures.append(error.failure)

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with BlockingTunnel(str(tmp_path / "silent")) as tunnel:
            threads = [threading.Thread(target=dial, args=(tunnel,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            accepted = [silent.accept()[0] for _ in threads]  # each dial is under way
            began = time.monotonic()
        for thread in threads:
            thread.join(10)
        for each in accepted:
            each.close()
    assert time.monotonic() - began < 10
    assert failures == [DialFailure.TUNNEL_LOST] * 3


def test_a_wrong_argument_is_told_before_the_first_dial():
    with pytest.raises(ValueError, match="must be grpc or http-connect"):
        with BlockingTunnel("/x", mode="other"):
            pass
    assert NAME not in [thread.name for thread in threading.enumerate()]

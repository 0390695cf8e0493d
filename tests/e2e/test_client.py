"""Tests of the client library: TLS to a target, spellings of a frontend address, and errors for wrong calls."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest
import uvloop

from konnectivity.client import DialError, DialFailure, connect
from support import targets
from support.targets import listening

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
WAYS = [("grpc", True), ("grpc", False), ("http-connect", True), ("http-connect", False)]
SIZE = 3_000_000


def contexts(deployment):
    """Return the TLS contexts of a target and of a client that trusts the target."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    return serving, ssl.create_default_context(cafile=deployment.path("ca.crt"))


@contextmanager
def tls_echo(context):
    """Run an echo target that speaks TLS in threads, so that no event loop of a test sees its connections end."""
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection):
            with suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as session:
                while data := session.recv(65536):
                    session.sendall(data)

        def accept():
            with suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(10)
    for each in threads:
        each.join(10)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("mode", "unix"), WAYS)
def test_tls_with_a_target(deployment, mode, unix, loop):
    serving, trusting = contexts(deployment)
    data = b"".join(targets.pattern(SIZE))

    async def talk(address):
        async with asyncio.timeout(60), connect(**deployment.frontend(mode, unix)) as tunnel:
            reader, writer = await tunnel.dial(address)
            await writer.start_tls(trusting, server_hostname="localhost")
            assert writer.get_extra_info("peercert")["subjectAltName"]

            async def send():
                writer.write(data)
                await writer.drain()

            sending = asyncio.create_task(send())
            assert await reader.readexactly(len(data)) == data
            await sending
            writer.close()
            await writer.wait_closed()

    with tls_echo(serving) as address, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(talk(address))


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_a_certificate_that_does_not_name_the_target(deployment, mode):
    serving, trusting = contexts(deployment)
    with tls_echo(serving) as address:
        async with connect(**deployment.frontend(mode, True)) as tunnel:
            _, writer = await tunnel.dial(address)
            with pytest.raises(ssl.SSLCertVerificationError):
                await writer.start_tls(trusting, server_hostname="another.example")
            writer.transport.abort()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_tls_with_a_target_that_does_not_speak_it(deployment, mode):
    async def refuse(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with listening(refuse) as address, connect(**deployment.frontend(mode, True)) as tunnel:
        _, writer = await tunnel.dial(address)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await writer.start_tls(ssl.create_default_context(), server_hostname="localhost")
        writer.transport.abort()


@pytest.mark.parametrize("prefix", ["", "unix:", "unix://"])
@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_a_unix_socket_with_a_prefix_or_not(deployment, mode, prefix):
    async with listening(targets.echo) as address, connect(prefix + deployment.socket, mode) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


@pytest.mark.parametrize("mode", ["GRPC", "http_connect", "", None, "connect"])
async def test_a_mode_that_is_none(mode):
    with pytest.raises(ValueError, match="must be grpc or http-connect"):
        async with connect("/run/konnectivity.sock", mode):
            pass


@pytest.mark.parametrize(
    "address", ["", "unix:", "run/x.sock", "host", ":8090", "host:0", "host:x", "a b:1", "unix:/a\0b"]
)
async def test_an_address_that_is_none(address):
    with pytest.raises(ValueError, match=r"names no|missing port|invalid port|no such host"):
        async with connect(address):
            pass


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_tcp_without_tls_says_what_is_wrong(deployment, mode):
    async with connect(f"127.0.0.1:{deployment.server_port}", mode) as tunnel:
        with pytest.raises(DialError, match=r"pass tls=tls_context\(\.\.\.\)$") as caught:
            await tunnel.dial("127.0.0.1:1", timeout_s=20)
    assert caught.value.failure in (DialFailure.TUNNEL_LOST, DialFailure.PROTOCOL)


async def test_a_server_that_is_not_there_says_nothing_of_tls():
    async with connect("127.0.0.1:1") as tunnel:
        with pytest.raises(DialError) as caught:
            await tunnel.dial("127.0.0.1:1")
    assert str(caught.value) == "cannot reach the proxy server: 127.0.0.1:1: connect: connection refused"


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_values_of_the_wrong_kind_are_told(mode):
    for address in (None, 1, b"unix:/x", ("127.0.0.1", 1)):
        with pytest.raises(ValueError, match="address must be a text"):
            async with connect(address, mode):
                pass
    with pytest.raises(ValueError, match="tls must be a context"):
        async with connect("127.0.0.1:1", mode, tls=True):
            pass
    async with connect("unix:/none", mode) as tunnel:
        for target in (None, 1, b"a.test:1", ("a.test", 1)):
            with pytest.raises(ValueError, match="address must be a text"):
                await tunnel.dial(target)
        for seconds in (None, "1", -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="timeout_s must be a number of seconds"):
                await tunnel.dial("a.test:1", timeout_s=seconds)
        for target in (
            "a.test",
            "a test:1",
            "a.test:1\r\nX: y",
            "[::1",
            "[::g]:1",
            "::1:1:1",
            "a.test:65536",
            "\udcff:1",
        ):
            with pytest.raises(DialError) as caught:
                await tunnel.dial(target)
            assert caught.value.failure is DialFailure.ADDRESS
        with pytest.raises(DialError, match="within 0 s") as caught:
            await tunnel.dial("a.test:1", timeout_s=0)
        assert caught.value.failure is DialFailure.TIMEOUT


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_a_tunnel_that_was_closed_makes_no_connection(deployment, mode):
    async with listening(targets.echo) as address, connect(**deployment.frontend(mode, True)) as tunnel:
        pass
    with pytest.raises(DialError, match="the tunnel was closed"):
        await tunnel.dial(address)


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_a_tunnel_outlives_a_server_that_is_not_there_yet(deployment, mode, tmp_path):
    """A first dial that fails, or is cancelled while it connects, does not break the dials after it."""
    frontend = deployment.frontend(mode, True)
    path, late = frontend["address"].removeprefix("unix:"), tmp_path / "late.socket"
    async with listening(targets.echo) as address, connect(**(frontend | {"address": f"unix:{late}"})) as tunnel:
        with pytest.raises(DialError, match="cannot reach the proxy server: no such file or directory"):
            await tunnel.dial(address)
        late.symlink_to(path)
        for passes in range(6):
            dial = asyncio.create_task(tunnel.dial(address))
            for _ in range(passes):
                await asyncio.sleep(0)
            dial.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dial
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()

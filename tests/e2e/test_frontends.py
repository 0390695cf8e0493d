"""Tests of requests through the real programs, by each of the four frontends, with our client and with curl."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import socket
import struct
import subprocess
import sys
import threading

import pytest

from konnectivity.client import DialError, DialFailure, TunnelLost, connect
from support import targets
from support.targets import listening

WAYS = [(mode, unix) for mode in ("http-connect", "grpc") for unix in (True, False)]
ways = pytest.mark.parametrize(("mode", "unix"), WAYS, ids=[f"{m}-{'unix' if u else 'mtls'}" for m, u in WAYS])


@ways
async def test_echo_in_order_and_many_at_once(deployment, mode, unix):
    async def talk(tunnel, address, number):
        reader, writer = await tunnel.dial(address)
        for size in (1, 100, 70_000):
            message = bytes([number % 251]) * size
            writer.write(message)
            assert await reader.readexactly(size) == message
        writer.close()
        await writer.wait_closed()

    async with listening(targets.echo) as address, connect(**deployment.frontend(mode, unix)) as tunnel:
        await asyncio.gather(*(talk(tunnel, address, number) for number in range(40)))


@ways
async def test_a_target_that_speaks_first_and_leaves(deployment, mode, unix):
    size = 300_000
    async with (
        listening(targets.source(size, b"220 hello\r\n")) as address,
        connect(**deployment.frontend(mode, unix)) as tunnel,
    ):
        for _ in range(20):
            reader, writer = await tunnel.dial(address)
            assert await reader.readline() == b"220 hello\r\n"
            assert len(await reader.read(-1)) == size
            writer.close()


@ways
async def test_dial_errors_have_their_kind_and_text(deployment, mode, unix):
    cases = [
        ("127.0.0.1:9", "dial tcp 127.0.0.1:9: connect: connection refused", DialFailure.ENDPOINT),
        ("127.0.0.1:0", "dial tcp 127.0.0.1:0: connect: connection refused", DialFailure.ENDPOINT),
        ("no-such-host.invalid:80", "lookup no-such-host.invalid", DialFailure.ENDPOINT),
        ("127.0.0.1", "missing port in address", DialFailure.ADDRESS),
        ("127.0.0.1:99999", "dial tcp: address 99999: invalid port", DialFailure.ADDRESS),
        ("h:1 HTTP/1.1\r\nX-Injected: y\r\nZ:1", "too many colons in address", DialFailure.ADDRESS),
        ("a\r\nb:1", "no such host", DialFailure.ADDRESS),
        ("\ud800:1", "no such host", DialFailure.ADDRESS),
    ]
    async with connect(**deployment.frontend(mode, unix)) as tunnel:
        for address, text, failure in cases:
            with pytest.raises(DialError) as caught:
                await tunnel.dial(address)
            assert text in str(caught.value)
            assert caught.value.failure is failure


@ways
async def test_ipv6_and_names(deployment, mode, unix):
    async with (
        listening(targets.echo, "::1") as six,
        listening(targets.echo) as four,
        connect(**deployment.frontend(mode, unix)) as tunnel,
    ):
        for spelling in (six, f"localhost:{four.rpartition(':')[2]}"):
            reader, writer = await tunnel.dial(spelling)
            writer.write(b"hi")
            assert await reader.readexactly(2) == b"hi"
            writer.close()
            await writer.wait_closed()  # TLS exchanges close_notify; closing the loop earlier leaks a socket


@pytest.mark.parametrize(("mode", "unix"), [("http-connect", True), ("grpc", True), ("grpc", False)])
async def test_half_close_an_answer_that_depends_on_all_input(deployment, mode, unix):
    size = 3_000_000
    async with listening(targets.digest) as address, connect(**deployment.frontend(mode, unix)) as tunnel:
        reader, writer = await tunnel.dial(address)
        for piece in targets.pattern(size):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        assert (await reader.readline()).decode().strip() == targets.pattern_digest(size)
        assert await reader.read() == b""
        writer.close()


@ways
async def test_a_target_that_resets_is_an_error_not_an_end(deployment, mode, unix):
    async def reset(reader, writer):
        writer.write(b"half of it")
        await writer.drain()
        await reader.readexactly(2)
        sock = writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with listening(reset) as address, connect(**deployment.frontend(mode, unix)) as tunnel:
        reader, writer = await tunnel.dial(address)
        assert await reader.readexactly(10) == b"half of it"
        writer.write(b"go")
        if mode == "http-connect" and unix:
            # A unix socket has no reset: the client sees the end of the stream (docs/internals/protocol.md).
            assert await reader.read() == b""
        else:
            with pytest.raises((ConnectionResetError, TunnelLost, OSError)):
                await reader.readexactly(1)
        writer.transport.abort()


def web_server():
    """Run a web server with a 200 MB download and an upload path that answers with the upload's checksum."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/page":
                return self._answer(b"<title>a page</title>")
            self.send_response(200)
            self.send_header("Content-Length", str(SIZE))
            self.end_headers()
            for piece in targets.pattern(SIZE):
                self.wfile.write(piece)

        def do_PUT(self):
            checksum, left = hashlib.sha256(), int(self.headers["Content-Length"])
            while left:
                data = self.rfile.read(min(left, 1 << 20))
                checksum.update(data)
                left -= len(data)
            self._answer(checksum.hexdigest().encode())

        def _answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


SIZE = 200_000_000


def curl(deployment, *arguments):
    proxy = [
        "--proxy",
        f"https://localhost:{deployment.server_port}",
        "--proxytunnel",
        "--proxy-cacert",
        deployment.path("ca.crt"),
        "--proxy-cert",
        deployment.path("client.crt"),
        "--proxy-key",
        deployment.path("client.key"),
    ]
    command = ["curl", "-sS", "--fail", "--max-time", "100", *proxy, *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=110).stdout


@pytest.mark.timeout(240)
def test_curl_a_page_a_download_and_an_upload_of_200_mb(deployment, tmp_path):
    server = web_server()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        assert curl(deployment, f"{base}/page") == b"<title>a page</title>"
        down = tmp_path / "down"
        curl(deployment, "-o", str(down), f"{base}/download")
        with down.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        expected = targets.pattern_digest(SIZE).split()[1]
        assert found == expected
        assert curl(deployment, "-T", str(down), f"{base}/upload").decode() == expected
    finally:
        server.shutdown()
        server.server_close()


def test_konnectivity_dial_is_netcat(deployment):
    server = web_server()
    try:
        request = b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        tool = [sys.executable, "-m", "konnectivity.tool.cli", "dial"]
        server_flags = ["--server", f"unix:{deployment.socket}"]
        done = subprocess.run(
            [*tool, f"127.0.0.1:{server.server_port}", *server_flags], input=request, capture_output=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(b"<title>a page</title>")
        refused = subprocess.run([*tool, "127.0.0.1:9", *server_flags], input=b"", capture_output=True, timeout=30)
        assert refused.returncode == 1
        assert b"connection refused" in refused.stderr
        assert b"Traceback" not in refused.stderr
    finally:
        server.shutdown()
        server.server_close()

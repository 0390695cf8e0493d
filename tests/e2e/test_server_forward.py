"""Tests of the forward proxy inside proxy-server: curl by each protocol, names, policy, audit log, hostile clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import dns.message
import dns.query
import dns.rcode
import pytest

from konnectivity.testing.deployment import Deployment, free_port
from support.command_runs import curl
from support.targets import echo, listening
from support.tcp_name_server import name_server

DIRECT = build_opener(ProxyHandler({}))
CONNECT = "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n"


class ServerForward:
    """Deployment whose server is a forward proxy as well."""

    def __init__(self, directory: Path, name_server: str) -> None:
        self.deployment = Deployment(directory)
        self.port, self.dns_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.socket = str(directory / "forward.sock")
        (directory / "users").write_text("ann:secret\nbob:other\n")
        (directory / "policy").write_text(
            "- clients: [user=ann]\n  deny: [127.0.0.9, '*.secret.test']\n"
            "- clients: [user=bob]\n  allow: ['127.0.0.1:1']\n"
        )
        self.server = self.deployment.start_server(
            f"--forward-port={self.port}",
            f"--forward-uds-name={self.socket}",
            f"--forward-credentials-file={directory}/users",
            "--forward-resolve=test=cluster-dns",
            f"--forward-cluster-dns={name_server}",
            f"--forward-dns-port={self.dns_port}",
            f"--frontend-policy={directory}/policy",
            f"--audit-log={directory}/audit",
        )
        self.deployment.start_agent()

    def proxy(self, scheme: str, user: str = "ann:secret") -> str:
        return f"{scheme}://{user}@{self.address}"

    def metrics(self) -> str:
        return DIRECT.open(f"http://127.0.0.1:{self.deployment.health_port}/metrics").read().decode()

    def audit(self) -> list[dict]:
        return [json.loads(line) for line in Path(self.deployment.path("audit")).read_text().splitlines()]


@pytest.fixture(scope="module")
def names():
    records = {("web.test.", "A"): ["127.0.0.1"], ("web.secret.test.", "A"): ["127.0.0.1"]}
    with name_server({**records, ("other.test.", "A"): ["127.0.0.9"]}) as address:
        yield address


@pytest.fixture(scope="module")
def forward(tmp_path_factory, names):
    made = ServerForward(tmp_path_factory.mktemp("deployment"), names)
    yield made
    made.deployment.stop()


def test_curl_by_every_protocol(forward, plain, site):
    """The page arrives whole by SOCKS5, by CONNECT and by a request in absolute form, and so does an upload."""
    large = (site / "large").read_bytes()
    url = f"http://localhost:{plain.server_port}"
    for scheme in ("socks5h", "http"):
        assert curl(f"{url}/large", ALL_PROXY=forward.proxy(scheme)) == large
    assert curl("--proxytunnel", f"{url}/large", http_proxy=forward.proxy("http")) == large
    assert curl(f"{url}/x", "--data-binary", f"@{site}/large", http_proxy=forward.proxy("http")) == b"3000000 bytes"
    before = plain.connections
    assert curl(*[f"{url}/page"] * 5, http_proxy=forward.proxy("http")) == b"hello" * 5
    assert plain.connections == before + 1


def test_names_by_the_clusters_dns_and_the_policy_on_both(forward, plain):
    """A rule on a name and a rule on an address both judge a name that the server resolves."""
    port = plain.server_port
    assert curl(f"http://web.test:{port}/page", ALL_PROXY=forward.proxy("socks5h")) == b"hello"
    for host in ("web.secret.test", "other.test", "127.0.0.9"):
        answer = curl("-i", f"http://{host}:{port}/page", http_proxy=forward.proxy("http"))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"refused by the server's policy" in answer
    answer = curl("-i", f"http://127.0.0.1:{port}/page", http_proxy=forward.proxy("http", "bob:other"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert curl("-i", "http://127.0.0.1:1/", http_proxy=forward.proxy("http", "bob:other")).startswith(b"HTTP/1.1 502 ")
    assert b"407 " in curl("-i", f"http://localhost:{port}/", http_proxy=forward.proxy("http", "ann:wrong"))
    curl(f"http://localhost:{port}/", ALL_PROXY=forward.proxy("socks5h", "ann:wrong"), status=97)


@pytest.mark.parametrize("ask", [dns.query.udp, dns.query.tcp], ids=["udp", "tcp"])
def test_the_dns_listener_answers_by_the_clusters_dns_and_needs_no_password(forward, ask):
    def asked(name):
        return ask(dns.message.make_query(name, "A"), "127.0.0.1", timeout=10, port=forward.dns_port)

    assert [each.to_text() for each in asked("other.test.").answer[0]] == ["127.0.0.9"]
    assert asked("none.test.").rcode() == dns.rcode.NXDOMAIN


def test_metrics_and_the_audit_log_know_the_frontend(forward, plain):
    curl(f"http://web.test:{plain.server_port}/page", ALL_PROXY=forward.proxy("socks5h"))
    curl("-i", f"http://other.test:{plain.server_port}/page", http_proxy=forward.proxy("http"))
    metrics = forward.metrics()
    assert 'server_forward_dials_total{protocol="socks5",result="ok"}' in metrics
    assert 'server_forward_dials_total{protocol="http",result="policy"}' in metrics
    assert "server_forward_open_connections 0" in metrics
    assert "server_http_connections 0" in metrics
    records = [each for each in forward.audit() if each.get("asked_for") == "web.test"]
    assert {each["event"] for each in records} >= {"dialled"}
    client = records[0]["client"]
    assert (client["frontend"], client["user"]) == ("forward", "ann")
    assert client["address"].startswith("127.0.0.1:")
    assert records[0]["destination"] == f"127.0.0.1:{plain.server_port}"
    refused = [each for each in forward.audit() if each.get("asked_for") == "other.test"]
    assert refused[-1]["cause"] == "policy"


async def test_the_unix_socket_passes_on_ends_and_bytes_that_were_sent_early(forward):
    async def count(reader, writer):
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async with listening(count) as address:
        reader, writer = await asyncio.open_unix_connection(forward.socket)
        words = CONNECT.format(address).replace("\r\n\r\n", "\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n")
        writer.write(words.encode() + b"x" * 1_000_000)
        writer.write_eof()
        assert await reader.read() == b"HTTP/1.1 200 Connection established\r\n\r\n1000000"
        writer.close()
    assert {"uid": os.getuid(), "user": "ann"}.items() <= forward.audit()[-1]["client"].items()


async def test_a_destination_that_resets_resets_the_client(forward):
    async def reset(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with listening(reset) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"\x05\x01\x02" + b"\x01\x03ann\x06secret" + b"\x05\x01\x00\x01\x7f\x00\x00\x01")
        writer.write(int(address.rpartition(":")[2]).to_bytes(2) + b"x")
        assert await reader.readexactly(14) == b"\x05\x02\x01\x00" + b"\x05\x00\x00\x01" + bytes(6)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x05\xff" + bytes(255) + b"\x01\xff",
        b"\x05\x01\x02\x01\x03ann\x06secret\x05\x02\x00\x01" + bytes(6),
        b"GET http://a/ HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" * 100,
        b"\xff" * 200_000,
    ],
    ids=["tls", "http2", "methods", "command", "fields", "smuggled", "no password", "noise"],
)
async def test_hostile_bytes_end_their_own_connection_only(forward, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
    writer.write(data)
    with suppress(OSError):
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read()
            assert b" 200 " not in answer
    writer.close()
    async with listening(echo) as address:
        _, port = address.rsplit(":", 1)
        assert curl("-i", f"http://127.0.0.9:{port}/", http_proxy=forward.proxy("http")).startswith(b"HTTP/1.1 403 ")


def test_an_open_proxy_is_refused_and_so_are_ways_around_the_tunnel(tmp_path):
    deployment = Deployment(tmp_path)
    for arguments, problem in (
        (["--forward-port=8070", "--forward-bind-address=0.0.0.0"], "set --forward-credentials-file"),
        (["--forward-dns-port=5353", "--forward-dns-bind-address=0.0.0.0"], "must be a loopback address"),
        (["--forward-port=8070", "--forward-resolve=*=direct"], "direct is for `konnectivity forward` only"),
        (["--forward-port=8070", "--forward-resolve=*=cluster-dns"], "needs --forward-cluster-dns"),
        ([f"--forward-uds-name={tmp_path}/f", "--workers=2"], "--forward-uds-name needs --workers=1"),
    ):
        process = deployment.start_package("konnectivity_server", deployment.server_arguments(*arguments))
        assert process.wait(20) == 1
        assert problem in process.log


def test_a_client_that_is_connected_at_the_end_is_waited_for(tmp_path, names, plain):
    """A signalled server closes an idle client, and lets a tunnel end by itself."""
    made = ServerForward(tmp_path, names)
    try:
        idle = socket.create_connection(("127.0.0.1", made.port))
        busy = socket.create_connection(("127.0.0.1", made.port))
        words = CONNECT.format(plain.address)[:-2] + "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
        busy.sendall(words.encode())
        busy.settimeout(20)
        assert busy.recv(100).startswith(b"HTTP/1.1 200 ")
        made.server.send(signal.SIGTERM)
        idle.settimeout(20)
        assert idle.recv(1) == b""
        idle.close()
        busy.sendall(b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := busy.recv(65536):
            answer += piece
        assert answer.endswith(b"hello")
        busy.close()
        assert made.server.wait(20) == 0
    finally:
        made.deployment.stop()

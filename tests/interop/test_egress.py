"""kube-apiserver's egress selector and the konnectivity client library, against our server and agent.

The matrix: client {egress selector over gRPC on a unix socket, HTTP CONNECT on a unix socket, HTTP CONNECT on TCP with
TLS, the client library; all but the third also as of two years ago} x pair {ours, ours on the established wire, our
agent on grpcio, an agent on grpc-go}.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import pytest

from konnectivity.testing.deployment import Deployment
from support import targets
from support.targets import listening

MIB = 1 << 20
TRANSPORTS = ("grpc-uds", "connect-uds", "connect-tls", "client-library")
CLIENTS = (*TRANSPORTS, "grpc-uds-2024", "connect-uds-2024", "client-library-2024")
pytestmark = pytest.mark.timeout(120)

PAIRS = {
    "ours": ((), ()),
    "agent-on-grpcio": ((), ("--grpc-implementation=grpcio",)),
    "established-wire": (("--konnectivity-extension=false",), ("--konnectivity-extension=false",)),
    "agent-in-go": ((), None),
}


def go_agent(deployment):
    files = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
    paths = [f"--{flag}={deployment.path(name)}" for flag, name in files.items()]
    return [f"--server=127.0.0.1:{deployment.agent_port}", *paths]


@pytest.fixture(scope="module", params=PAIRS)
def pair(request, programs, tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp(request.param))
    server, agent = PAIRS[request.param]
    deployment.start_server(*server)
    if agent is None:
        deployment.start_program(programs / "peer", go_agent(deployment)).wait_for("connected")
    else:
        deployment.start_agent(*agent)
    yield deployment
    deployment.stop()


@pytest.fixture(params=CLIENTS)
def client(request, pair, kubelet, drivers):
    return drivers(pair, request.param, kubelet[1])


@pytest.fixture
async def echo():
    async with listening(targets.echo) as address:
        yield address


async def ok(client, scenario, target, **options):
    return await asyncio.to_thread(lambda: client.ok(scenario, target, **options))


async def error(client, scenario, target, **options):
    return await asyncio.to_thread(lambda: client.error(scenario, target, **options))


async def test_echo(client, echo):
    assert await ok(client, "echo", echo) == 1


async def test_20_mb_each_way(client, echo):
    assert await ok(client, "echo", echo, size=20 * MIB) == 1


async def test_200_at_once(client, echo):
    assert await ok(client, "echo", echo, count=200, size=10_000) == 200


def test_https_with_a_kept_connection_and_http_2(client, kubelet):
    assert client.ok("https", kubelet[0]) == {"text": "hello by HTTP/2.0", "dials": 1}


def test_a_followed_log(client, kubelet):
    assert client.ok("log", kubelet[0]) == 20


def test_download_and_upload(client, kubelet):
    assert client.ok("download", kubelet[0], size=20 * MIB) == 20 * MIB
    assert client.ok("upload", kubelet[0], size=20 * MIB) == 20 * MIB


@pytest.mark.parametrize("protocol", ["spdy", "websocket"])
def test_exec(client, kubelet, protocol):
    assert client.ok(f"exec-{protocol}", kubelet[0], size=MIB) == "running [cat]"


def test_port_forward(client, kubelet):
    assert client.ok("portforward", kubelet[0], size=MIB) == MIB


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_refused_dial_says_so(client, request):
    text = client.error("dial", f"127.0.0.1:{unused_port()}")
    if "egress" in client.arguments[0] and "connect" in client.arguments[0]:
        assert "502 dial tcp" in text  # the egress selector does not read the body
    else:
        assert "connect: connection refused" in text


def test_an_unknown_host_says_so(client):
    text = client.error("dial", "no-such-host.invalid:80")
    assert "no such host" in text or "server misbehaving" in text


async def test_a_cancelled_dial_ends_at_once(client):
    with socket.socket() as sock:  # its backlog is full: connects hang
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        await asyncio.sleep(0.2)
        started = time.monotonic()
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        text = await error(client, "cancel", address, wait="500ms")
        took = time.monotonic() - started
        for filler in fillers:
            filler.close()
    assert "context" in text or "timeout" in text.lower()
    assert took < 8


async def test_a_target_that_closes_ends_the_connection(client):
    async def close_after_hold(reader, writer):
        writer.write(await reader.readexactly(4))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()

    async with listening(close_after_hold) as address:
        detail = await ok(client, "hold", address)
    assert detail["end"] == "EOF"
    assert detail["seconds"] < 3


async def test_many_scenarios_leave_nothing_behind(pair, kubelet, echo):
    """After everything above: no connection is counted as open."""
    import http.client

    def established():
        connection = http.client.HTTPConnection("127.0.0.1", pair.health_port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        names = ("established_connections ", "pending_backend_dials ", "http_connections ", "buffered_bytes ")
        return [line for line in text.splitlines() for name in names if f"server_{name}" in line and line[0] != "#"]

    end = time.monotonic() + 15
    while not all(line.endswith(" 0") for line in await asyncio.to_thread(established)):
        assert time.monotonic() < end, established()
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_agent_that_restarts(drivers, fresh_pair, kubelet, transport, echo):
    """A connection through it breaks; the next dial goes through the new one."""
    deployment, agent = fresh_pair
    client = drivers(deployment, transport, kubelet[1])
    held = client.start("hold", echo)
    assert held.stderr is not None
    assert await asyncio.to_thread(held.stderr.readline) == "holding\n"
    agent.send(signal.SIGKILL)
    detail = (await asyncio.to_thread(client.finish, held))["detail"]
    assert detail["seconds"] < 5
    await asyncio.to_thread(deployment.start_agent)
    assert await ok(client, "echo", echo) == 1


@pytest.fixture
def fresh_pair(tmp_path):
    deployment = Deployment(tmp_path)
    deployment.start_server()
    agent = deployment.start_agent()
    yield deployment, agent
    deployment.stop()


async def test_a_draining_agent_keeps_its_connections(fresh_pair, kubelet, drivers, echo):
    deployment, agent = fresh_pair
    client = drivers(deployment, "grpc-uds", kubelet[1])
    held = client.start("hold", echo)
    assert held.stderr is not None
    await asyncio.to_thread(held.stderr.readline)
    agent.send(signal.SIGTERM)
    await asyncio.sleep(1)
    assert held.poll() is None
    held.kill()
    await asyncio.to_thread(held.communicate)
    assert await asyncio.to_thread(agent.wait) == 0


def test_direct_needs_no_server(drivers, tmp_path, kubelet):
    client = drivers(Deployment(tmp_path), "direct", kubelet[1])
    assert client.ok("https", kubelet[0])["text"] == "hello by HTTP/2.0"

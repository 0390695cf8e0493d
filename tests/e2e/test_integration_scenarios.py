"""Tests of the scenarios of the reference's own integration tests that no other test of this repository covers.

tests/interop/integration_scenarios.toml lists all scenarios of the reference, each with the tests that show it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import ExitStack, closing, suppress

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import Deployment, free_port
from support import targets
from support.balancer import HAPROXY, MISSING, Balancer
from support.grpc_peer import agent as grpcio_agent
from support.kubernetes_api import KubernetesApi
from support.metrics_page import metrics
from support.targets import listening

MODES = ("grpc", "http-connect")
WAIT_S = 30
MIB = 1 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Yield a deployment with two agents, and its agents."""
    deployment = Deployment(tmp_path_factory.mktemp("site"))
    try:
        deployment.start_server()
        yield deployment, [deployment.start_agent(f"--agent-id=agent-{number}") for number in (1, 2)]
    finally:
        deployment.stop()


async def samples(port):
    """Return the samples of the metrics page on a port, by name and labels."""
    return await asyncio.to_thread(metrics, port)


async def until(port, **expected):
    """Wait until the samples without labels have the expected values."""
    found = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            while expected.items() - found.items():
                await asyncio.sleep(0.05)
                with suppress(ConnectionError):  # the program is starting
                    found = await samples(port)
    assert {name: found.get(name) for name in expected} == expected


async def difference(port, before):
    """Return the counters of failed dials that grew since `before`, with their growth."""
    now = await samples(port)
    grown = {name: value - before.get(name, 0) for name, value in now.items() if "dial_failure" in name}
    return {name: value for name, value in grown.items() if value}


async def echoed(deployment, mode, address, message):
    async with asyncio.timeout(WAIT_S), connect(**deployment.frontend(mode, True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        with closing(writer):
            writer.write(message)
            return await reader.readexactly(len(message))


@pytest.mark.parametrize("mode", MODES)
async def test_100_clients_at_once_through_two_agents_get_their_own_answers(site, mode):
    deployment, _ = site
    messages = [str(number).encode() for number in range(100)]
    async with listening(targets.echo) as address:
        assert await asyncio.gather(*(echoed(deployment, mode, address, each) for each in messages)) == messages


@pytest.mark.parametrize("mode", MODES)
async def test_10_downloads_of_10_mb_at_once_are_whole(site, mode):
    deployment, _ = site

    async def download(address):
        async with connect(**deployment.frontend(mode, True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            size = 0
            with closing(writer):
                while data := await reader.read(MIB):
                    size += len(data)
            return size

    async with listening(targets.source(10 * MIB)) as address, asyncio.timeout(WAIT_S):
        assert await asyncio.gather(*(download(address) for _ in range(10))) == [10 * MIB] * 10


@pytest.mark.parametrize("mode", MODES)
async def test_50_requests_that_are_cancelled_before_their_answer_leave_no_connection(site, mode):
    """After all clients of a silent target have left, server and agents count no connection."""
    deployment, agents = site

    async def request(address):
        async with connect(**deployment.frontend(mode, True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            with closing(writer):
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                await reader.read(1)

    async with listening(targets.sleeper) as address:
        requests = [asyncio.create_task(request(address)) for _ in range(50)]
        await until(deployment.admin_port, server_established_connections=50)
        for each in requests:
            each.cancel()
        await asyncio.wait(requests)
        await until(deployment.admin_port, server_established_connections=0, server_pending_backend_dials=0)
        for each in agents:
            await until(each.health_port, agent_open_endpoint_connections=0)


async def test_a_name_that_does_not_exist_is_a_502_with_the_words_of_the_resolver(site):
    """The server counts an answer with an error, and one agent counts a failure other than a timeout."""
    deployment, agents = site
    before = [await samples(each.health_port) for each in agents]
    served = await samples(deployment.admin_port)
    reader, writer = await asyncio.open_unix_connection(deployment.socket)
    with closing(writer):
        writer.write(b"CONNECT no-such-host.invalid:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            answer = (await reader.read()).decode()
    assert answer.startswith("HTTP/1.1 502 dial tcp: lookup no-such-host.invalid")
    assert answer.endswith(("no such host", "server misbehaving"))
    assert await difference(deployment.admin_port, served) == {'server_dial_failure_count{reason="error_response"}': 1}
    failures = [await difference(each.health_port, earlier) for each, earlier in zip(agents, before, strict=True)]
    assert sorted(failures, key=len) == [{}, {'agent_endpoint_dial_failure_total{reason="unknown"}': 1}]


async def test_a_target_that_never_answers_the_agent_is_a_timeout_of_the_agent(site):
    """The agent gives up after 5 s, before the server's limit of 10 s, and its error reaches the client."""
    deployment, agents = site
    before = [await samples(each.health_port) for each in agents]
    served = await samples(deployment.admin_port)
    with socket.socket() as sock, ExitStack() as stack:  # connects hang because the backlog is full
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        async with asyncio.timeout(WAIT_S), connect(**deployment.frontend("grpc", True)) as tunnel:
            with pytest.raises(DialError, match="i/o timeout"):
                await tunnel.dial(f"127.0.0.1:{sock.getsockname()[1]}")
    assert await difference(deployment.admin_port, served) == {'server_dial_failure_count{reason="error_response"}': 1}
    failures = [await difference(each.health_port, earlier) for each, earlier in zip(agents, before, strict=True)]
    assert sorted(failures, key=len) == [{}, {'agent_endpoint_dial_failure_total{reason="timeout"}': 1}]


async def test_a_dial_that_its_client_cancels_is_counted_as_closed_by_the_frontend(fresh):
    """The agent never answers; the client gives up, and the server keeps no pending dial."""
    fresh.start_server()
    async with grpcio_agent(fresh), connect(**fresh.frontend("grpc", True)) as tunnel:
        dial = asyncio.create_task(tunnel.dial("198.18.0.254:1234"))
        await until(fresh.admin_port, server_pending_backend_dials=1)
        dial.cancel()
        await asyncio.wait([dial])
        await until(fresh.admin_port, server_pending_backend_dials=0)
        assert await difference(fresh.admin_port, {}) == {'server_dial_failure_count{reason="frontend_close"}': 1}


@pytest.mark.parametrize("mode", MODES)
async def test_the_only_agent_serves_dials_while_it_drains(fresh, mode):
    fresh.start_server()
    agent = fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend(mode, True)) as tunnel:
        _, writer = await tunnel.dial(address)  # the agent stays until this connection ends
        with closing(writer):
            agent.send(signal.SIGTERM)
            await asyncio.to_thread(agent.wait_for, "draining")
            assert await echoed(fresh, mode, address, b"late") == b"late"
    assert await asyncio.to_thread(agent.wait) == 0


@pytest.mark.skipif(HAPROXY is None, reason=MISSING)
@pytest.mark.parametrize(
    "leases", [False, True], ids=["three servers, a static count", "leases, two servers, then four"]
)
async def test_every_agent_is_connected_to_every_server_behind_one_address(fresh, tmp_path, leases):
    """There are as many agents as servers, and the metrics of all programs count every connection between them."""
    first, last = (2, 4) if leases else (3, 3)
    ports = {f"server-{number}": {use: free_port() for use in ("agent", "admin")} for number in range(last)}
    entrance, agents = free_port(), []
    with (
        KubernetesApi(tmp_path / "api") as api,
        Balancer(tmp_path, entrance, {name: each["agent"] for name, each in ports.items()}),
    ):
        kubeconfig = f"--kubeconfig={api.kubeconfig(tmp_path / 'kubeconfig')}"
        counting = ("--count-server-leases", kubeconfig) if leases else ()

        def start(names):
            for name in names:
                fresh.start_server(
                    *(("--enable-lease-controller", kubeconfig) if leases else (f"--server-count={last}",)),
                    f"--server-id={name}",
                    f"--agent-port={ports[name]['agent']}",
                    f"--admin-port={ports[name]['admin']}",
                    f"--health-port={free_port()}",
                    f"--server-port={free_port()}",
                    f"--uds-name={tmp_path}/{name}.sock",
                )
            for _ in names:
                options = ("--sync-interval=200ms", "--sync-forever", *counting)
                agents.append(fresh.start_agent(*options, port=entrance, connects=False))

        for names in ([*ports][:first], [*ports][first:]):
            await asyncio.to_thread(start, names)
            count = len(agents)
            for agent in agents:
                await until(agent.health_port, agent_open_server_connections=count, agent_known_server_count=count)
            for name in [*ports][:count]:
                await until(ports[name]["admin"], server_ready_backend_connections=count)
        fresh.stop()

"""Tests of metrics that dashboards and alerts use by name: type, labels, buckets and HELP text must match exactly.

A real deployment causes every metric once; the tests check its scrapes.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import grpc
import pytest

from konnectivity import wire
from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import Deployment, free_port
from support import grpc_peer, targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

PREFIX = "konnectivity_network_proxy_"
MIB = 1024 * 1024
DIAL = "1e-06 1e-05 0.0001 0.005 0.025 0.1 0.5 2.5 12.5 +Inf"
DURATION = "1 5 15 30 60 300 900 1800 3600 14400 43200 86400 +Inf"
DEFAULT = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf"
AGENT_DIAL = "0.005 0.025 0.1 0.5 2.5 10 30 +Inf"
METHODS = "Proxy Connect"
PACKETS = "DIAL_REQ DIAL_RSP CLOSE_REQ CLOSE_RSP DATA DIAL_CLS DRAIN"
SERVER_SEGMENTS, AGENT_SEGMENTS = "from_client to_client from_agent to_agent", "from_agent to_agent"
CODES = """
    Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted
    FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated
"""
OTHER = "127.0.0.2"  # address served by the agent that is not ours
ANY = "*"  # a label whose values are open: HTTP status codes, reasons of an API
PACKETS_HELP = "Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)"
ERRORS_HELP = (
    "Count of gRPC stream errors, by segment, grpc Code, packet type. (example: from_agent, Code.Unavailable, DIAL_RSP)"
)
READY_HELP = "Number of konnectivity agent connected to the proxy server"


class Row(NamedTuple):
    """One metric. `labels`: name -> its possible values; all are seen in the scrapes except `unseen`."""

    name: str
    kind: str
    help: str
    at_rest: bool  # whether it is present before any event
    labels: Mapping[str, str] = {}
    buckets: str = ""
    unseen: str = ""


SERVER = (
    Row("dial_duration_seconds", "histogram", "Latency of dial to the remote endpoint in seconds", True, {}, DIAL),
    Row("frontend_write_duration_seconds", "histogram", "Latency of write to the frontend in seconds", True, {}, DIAL),
    Row(
        "connection_duration_seconds",
        "histogram",
        "Duration in seconds a proxied end-to-end connection was established (post-dial) before being closed.",
        True,
        {},
        DURATION,
    ),
    Row(
        "grpc_connections",
        "gauge",
        "Number of current grpc connections, partitioned by service method.",
        False,
        {"service_method": METHODS},
    ),
    Row("http_connections", "gauge", "Number of current HTTP CONNECT connections", True),
    Row("ready_backend_connections", "gauge", f"{READY_HELP}. DEPRECATED, please use ready_backends", True),
    Row("ready_backends", "gauge", READY_HELP, True, {"proxy_strategy": "default destHost defaultRoute"}),
    Row("pending_backend_dials", "gauge", "Current number of pending backend dial requests", True),
    Row("established_connections", "gauge", "Current number of established end-to-end connections (post-dial).", True),
    Row(
        "connection_close_total",
        "counter",
        "Established end-to-end connections (post-dial) that were closed, by what closed them first.",
        False,
        {"reason": "frontend_close backend_close stream_shutdown"},
        unseen="stream_shutdown",
    ),
    Row(
        "full_receive_channels",
        "gauge",
        "Number of current connections blocked by a full receive channel, partitioned by service method.",
        True,
        {"service_method": METHODS},
    ),
    Row(
        "dial_failure_count",
        "counter",
        "Number of dial failures observed. Multiple failures can occur for a single dial request.",
        False,
        {
            "reason": "no_agent error_response unrecognized_response send_rsp backend_close backend_dial_timeout "
            "frontend_close"
        },
        unseen="send_rsp",  # a frontend that disconnects cancels its dial at once, so no answer is sent
    ),
    Row(
        "stream_packets_total",
        "counter",
        PACKETS_HELP,
        False,
        {"segment": SERVER_SEGMENTS, "packet_type": PACKETS},
    ),
    Row(
        "stream_errors_total",
        "counter",
        ERRORS_HELP,
        False,
        {"segment": SERVER_SEGMENTS, "code": CODES, "packet_type": f"{PACKETS} Unknown"},
        unseen=f"to_client to_agent {CODES.replace('Canceled', '')} {PACKETS}",
    ),
    Row(
        "culled_leases_count",
        "counter",
        "Count of expired leases that the lease garbage collection controller has culled.",
        True,
    ),
    Row(
        "lease_delete_latency_seconds",
        "histogram",
        "Latency of lease deletion calls by the garbage collection controller in seconds.",
        False,
        {"http_status_code": ANY},
        DEFAULT,
    ),
    Row(
        "lease_delete_total",
        "counter",
        "Count of lease delection calls by the garbage collection controller. Labeled by HTTP status code and reason.",
        False,
        {"http_status_code": ANY, "reason": ANY},
    ),
    Row(
        "lease_list_latency_seconds",
        "histogram",
        "Latency of lease list calls by the garbage collection controller in seconds.",
        False,
        {"http_status_code": ANY},
        DEFAULT,
    ),
    Row(
        "lease_list_total",
        "counter",
        "Count of lease deletion calls by the garbage collection controller. Labeled by HTTP status code and reason.",
        False,
        {"http_status_code": ANY, "reason": ANY},
    ),
)
AGENT = (
    Row(
        "dial_duration_seconds", "histogram", "Latency of dial to the remote endpoint in seconds", True, {}, AGENT_DIAL
    ),
    Row(
        "server_connection_failure_count",
        "counter",
        "Count of failures to send to or receive from the proxy server, labeled by the direction (from_server or "
        "to_server). DEPRECATED, please use stream_events_error_total",
        False,
        {"direction": "from_server to_server"},
        unseen="to_server",  # sends go to a buffer and cannot fail; the stream fails instead
    ),
    Row(
        "endpoint_dial_failure_total",
        "counter",
        "Number of failures dialing the remote endpoint, by reason (example: timeout).",
        False,
        {"reason": "timeout unknown"},
    ),
    Row("open_server_connections", "gauge", "Current number of open server connections.", True),
    Row("known_server_count", "gauge", "Current number of servers agent is trying to connect to.", True),
    Row("open_endpoint_connections", "gauge", "Current number of open endpoint connections.", True),
    Row(
        "stream_packets_total",
        "counter",
        PACKETS_HELP,
        False,
        {"segment": AGENT_SEGMENTS, "packet_type": PACKETS},
        unseen="DRAIN DIAL_CLS CLOSE_REQ CLOSE_RSP",  # a server with the extension sends other packets instead
    ),
    Row(
        "stream_errors_total",
        "counter",
        ERRORS_HELP,
        False,
        {"segment": AGENT_SEGMENTS, "code": CODES, "packet_type": f"{PACKETS} Unknown"},
        unseen=f"from_agent {CODES.replace('Unavailable', '')} {PACKETS}",
    ),
    Row(
        "lease_lists_total",
        "counter",
        "Count of server lease list calls made by the agent to the k8s apiserver, labeled by HTTP response code and "
        "reason",
        False,
        {"http_response_code": ANY, "reason": ANY},
    ),
    Row(
        "lease_watches_total",
        "counter",
        "Count of server lease watch calls made by the agent to the k8s apiserver, labeled by HTTP response code and "
        "reason",
        False,
        {"http_response_code": ANY, "reason": ANY},
    ),
    Row(
        "lease_list_latency_seconds",
        "histogram",
        "Latency of server lease listing in seconds",
        False,
        {"http_response_code": ANY},
        AGENT_DIAL,
    ),
)
ROWS = [("server", row) for row in SERVER] + [("agent", row) for row in AGENT]
# Label values of this project: its own reasons for a failed dial, and packets of its extension.
OWN_VALUES = {
    "reason": "budget protocol flood address",
    "packet_type": "CREDIT DATA_END RESET STOP SERVER_COUNT READY",
}


# ---- what happens ----------------------------------------------------------------------------------------------------


def scrape(port) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


async def until(port, line):
    """Wait until a scrape contains the line, and return the scrape."""
    end = time.monotonic() + 15
    while line not in (text := await asyncio.to_thread(scrape, port)):
        assert time.monotonic() < end, f"{line!r} did not come:\n{text}"
        await asyncio.sleep(0.05)
    return text


async def failing(tunnel, address):
    with pytest.raises(DialError):
        await tunnel.dial(address)


async def every_kind_of_failed_dial(deployment):
    """Cause every kind of failed dial, with an agent of the reference protocol."""
    async with (
        connect(**deployment.frontend("http-connect", unix=True)) as tunnel,
        grpc_peer.agent(deployment, identifiers=f"ipv4={OTHER}") as agent,
    ):
        await agent.say(wire.dial_rsp(1234, 50))  # answers an unknown dial
        await agent.hear()
        asking = asyncio.create_task(failing(tunnel, f"{OTHER}:1"))
        await agent.say(wire.dial_rsp((await agent.hear()).dialRequest.random, error="connection refused"))
        await asking
        async with grpc_peer.frontend(deployment) as frontend:
            await frontend.say(wire.dial_req(f"{OTHER}:2", 2))
            await agent.hear()
            await frontend.say(wire.close_dial(2))
            await agent.hear()
            await frontend.say(wire.dial_req(f"{OTHER}:20", 20))
            await agent.say(wire.dial_rsp((await agent.hear()).dialRequest.random, 20))
            await frontend.hear()
            await agent.say(wire.close_rsp(20))
            await frontend.hear()
        await failing(tunnel, f"{OTHER}:3")  # the agent does not answer
        await agent.hear()
        await agent.hear()
        asking = asyncio.create_task(failing(tunnel, f"{OTHER}:4"))
        await agent.hear()
        await agent.say(wire.drain())
        await until(deployment.health_port, 'packet_type="DRAIN"} 1\n')
        agent.call.cancel()
        await asking  # our own agent is asked instead


async def full_channels(deployment):
    """Leave connections of the reference protocol unread, which blocks their streams in both directions."""
    async with (
        grpc_peer.agent(deployment, identifiers=f"ipv4={OTHER}") as agent,
        grpc_peer.frontend(deployment) as frontend,
    ):
        await frontend.say(wire.dial_req(f"{OTHER}:1", 1))
        await agent.say(wire.dial_rsp((await agent.hear()).dialRequest.random, 1))
        number = (await frontend.hear()).dialResponse.connectID
        floods = [asyncio.create_task(flood(*each)) for each in ((agent, 1), (frontend, number))]
        await until(deployment.health_port, 'full_receive_channels{service_method="Connect"} 1\n')
        await until(deployment.health_port, 'full_receive_channels{service_method="Proxy"} 1\n')
        frontend.call.cancel()
        agent.call.cancel()
        await asyncio.wait(floods)


async def flood(call, connect_id):
    with suppress(asyncio.CancelledError, grpc.RpcError, asyncio.InvalidStateError):  # by cancellation
        for _ in range(1000):
            await call.say(grpc_peer.data(connect_id, bytes(MIB)))


async def through_our_agent(deployment):
    """Send an echo, a refused dial and an unanswered dial through our agent."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        full = socket.create_connection(deaf.getsockname())  # fills the queue; further connects hang
        async with listening(targets.echo) as echo, connect(**deployment.frontend("grpc", unix=True)) as tunnel:
            reader, writer = await tunnel.dial(echo)
            writer.write(b"hello")
            await reader.readexactly(5)
            writer.close()
            await writer.wait_closed()
            await failing(tunnel, "127.0.0.1:1")
            await failing(tunnel, f"127.0.0.1:{deaf.getsockname()[1]}")
        full.close()


def expired_lease():
    times = {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 2, "holderIdentity": "gone"}
    metadata = {"name": "konnectivity-proxy-server-gone", "labels": {"k8s-app": "konnectivity-server"}}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": times}


async def at_rest(deployment):
    """Return scrapes of both programs before any event: the agent finds no server, the server no agent."""
    health_port = free_port()
    agent = deployment.start_package("konnectivity_agent", deployment.agent_arguments(health_port=health_port))
    agent.wait_for("Cannot connect to the server")
    found = {("agent", True): await asyncio.to_thread(scrape, health_port)}
    agent.stop()
    server = deployment.start_server("--proxy-strategies=destHost,defaultRoute,default")
    found["server", True] = await asyncio.to_thread(scrape, deployment.health_port)
    server.stop()
    return found


async def in_use(deployment, api):
    """Return scrapes of both programs after every event that they count."""
    api.objects.create("kube-system", expired_lease())
    kubeconfig = f"--kubeconfig={api.kubeconfig(deployment.directory / 'kubeconfig')}"
    leases = (kubeconfig, "--enable-lease-controller", "--proxy-strategies=destHost,defaultRoute,default")
    server = deployment.start_server(*leases, "--backend-dial-timeout=6s", "--connection-buffer-budget=64Ki")
    await until(deployment.health_port, "culled_leases_count 1\n")
    async with connect(**deployment.frontend("http-connect", unix=True)) as tunnel:
        await failing(tunnel, "127.0.0.1:1")  # no agent is connected
    flags = ("--agent-identifiers=ipv4=127.0.0.1", "--count-server-leases")
    agent = await asyncio.to_thread(deployment.start_agent, kubeconfig, *flags)
    await until(agent.health_port, "lease_watches_total")
    await asyncio.gather(every_kind_of_failed_dial(deployment), through_our_agent(deployment))
    await full_channels(deployment)
    found = {("server", False): await asyncio.to_thread(scrape, deployment.health_port)}
    server.send(signal.SIGKILL)
    found["agent", False] = await until(agent.health_port, "stream_errors_total")
    return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Return (program, whether at rest) -> the scrape."""
    deployment = Deployment(tmp_path_factory.mktemp("metrics"))
    try:
        with KubernetesApi(deployment.directory / "api") as api:
            found = asyncio.run(at_rest(deployment))
            found |= asyncio.run(in_use(deployment, api))
            yield found
    finally:
        deployment.stop()


# ---- what must be there ----------------------------------------------------------------------------------------------

every_row = pytest.mark.parametrize(("program", "row"), ROWS, ids=[f"{each[0]}_{each[1].name}" for each in ROWS])


def labels_of(text, name):
    """Return the labels of every sample of a family."""
    samples = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:{{(.*)}})? \S+$", text, re.MULTILINE)
    return [dict(re.findall(r'([a-z_]+)="([^"]*)"', each)) for each in samples]


@every_row
def test_name_type_and_help(scraped, program, row):
    name, text = f"{PREFIX}{program}_{row.name}", scraped[program, False]
    assert f"# HELP {name} {row.help}\n# TYPE {name} {row.kind}\n" in text
    assert labels_of(text, name)


@every_row
def test_it_is_there_from_the_start_or_only_after_use(scraped, program, row):
    name = f"{PREFIX}{program}_{row.name}"
    found = labels_of(scraped[program, True], name)
    assert bool(found) == row.at_rest == (f"# TYPE {name} " in scraped[program, True])


@every_row
def test_labels_and_their_values(scraped, program, row):
    found = labels_of(scraped[program, False], f"{PREFIX}{program}_{row.name}")
    assert {frozenset(each) - {"le"} for each in found} == {frozenset(row.labels)}
    for label, known in row.labels.items():
        seen = {each[label] for each in found}
        if known != ANY:
            assert seen <= set(known.split()) | set(OWN_VALUES.get(label, "").split())
            assert seen >= set(known.split()) - set(row.unseen.split())


@pytest.mark.parametrize(
    ("program", "row"),
    [each for each in ROWS if each[1].kind == "histogram"],
    ids=lambda each: getattr(each, "name", each),
)
def test_buckets(scraped, program, row):
    found = labels_of(scraped[program, False], f"{PREFIX}{program}_{row.name}")
    values = {tuple(each.get(label, "") for label in row.labels) for each in found}
    for value in values:
        mine = [each for each in found if tuple(each.get(label, "") for label in row.labels) == value]
        assert " ".join(each["le"] for each in mine if "le" in each) == row.buckets
        assert len([each for each in mine if "le" not in each]) == 2  # sum, count


@pytest.mark.parametrize("program", ["server", "agent"])
def test_gauges_return_and_counters_count(scraped, program):
    expected = {
        "server": (
            "server_http_connections 0",
            "server_pending_backend_dials 0",
            "server_established_connections 0",
            "server_culled_leases_count 1",
            'server_dial_failure_count{reason="no_agent"} 1',
            'server_dial_failure_count{reason="backend_dial_timeout"} 1',
            'server_dial_failure_count{reason="backend_close"} 1',
            'server_dial_failure_count{reason="frontend_close"} 1',
            'server_dial_failure_count{reason="unrecognized_response"} 1',
            'server_ready_backends{proxy_strategy="default"} 1',
            'server_ready_backends{proxy_strategy="defaultRoute"} 0',
            "server_ready_backend_connections 1",
        ),
        "agent": (
            "agent_open_server_connections 0",
            "agent_known_server_count 1",
            "agent_open_endpoint_connections 0",
            'agent_endpoint_dial_failure_total{reason="timeout"} 1',
            'agent_endpoint_dial_failure_total{reason="unknown"} 2',
            'agent_server_connection_failure_count{direction="from_server"} 1',
        ),
    }
    lines = scraped[program, False].splitlines()
    assert [each for each in expected[program] if PREFIX + each not in lines] == []


def test_ready_backends_are_0_at_the_start_for_each_strategy(scraped):
    for name in ("destHost", "defaultRoute", "default"):
        assert f'{PREFIX}server_ready_backends{{proxy_strategy="{name}"}} 0\n' in scraped["server", True]


def test_the_servers_of_an_agent_are_one_plain_number_from_the_first_scrape(scraped):
    name = f"{PREFIX}agent_open_server_connections"
    assert re.findall(rf"^{name}\b.*", scraped["agent", True], re.MULTILINE) == [f"{name} 0"]
    assert re.findall(rf"^{name}\b.*", scraped["agent", False], re.MULTILINE) == [f"{name} 0"]

"""Tests of metrics that our programs and the reference have in common: the same operations change them alike.

Each program of each pair is held to one table of numbers, so what holds for the reference holds for ours. Every version
runs in both directions with HTTP CONNECT; gRPC, whose client segments need a Go client, with the newest one only.
"""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack, suppress

import pytest
from reference_pairs import (
    NEWEST,
    OURS,
    PREFIX,
    VERSIONS,
    Pairing,
    answer,
    echo_once,
    eventually,
    result,
)

from konnectivity.client import DialError
from support import targets
from support.targets import listening

CONNECT = [Pairing(*pair) for version in VERSIONS for pair in ((version, OURS), (OURS, version))]
GRPC = [Pairing(NEWEST, OURS, "grpc"), Pairing(OURS, NEWEST, "grpc")]
HELD, CLOSED, REFUSED = 3, 5, 2  # connections that stay open, connections that are closed, and dials that fail
pytestmark = pytest.mark.timeout(180)


def packets(program, segments, **counts):
    """Return the metrics that count packets of each type on the segments named."""
    names = {kind: f'{program}_stream_packets_total{{packet_type="{kind}",segment="%s"}}' for kind in counts}
    return {names[kind] % segments[kind]: counts[kind] for kind in counts}


def common(program, opened, closed, refused, version):
    """Return the metrics of a program after dials that succeeded, connections that closed, and dials that failed."""
    extra_closes = refused if version == "v0.31.0" else 0  # its server closes the connection of a refused dial, too
    segments = {"DIAL_REQ": "to_agent", "DATA": "to_agent", "CLOSE_REQ": "to_agent"}
    answers = {"DIAL_RSP": "from_agent", "DATA": "from_agent", "CLOSE_RSP": "from_agent"}
    dialled, closes = opened + refused, closed + extra_closes
    same = {
        f"{program}_dial_duration_seconds_count": opened,
        **packets(program, segments, DIAL_REQ=dialled, DATA=opened, CLOSE_REQ=closes),
        **packets(program, answers, DIAL_RSP=dialled, DATA=opened, CLOSE_RSP=closes),
    }
    if program == "agent":
        return same | {
            'agent_endpoint_dial_failure_total{reason="unknown"}': refused,
            "agent_open_endpoint_connections": opened - closed,
            "agent_open_server_connections": 1,
            "agent_known_server_count": 1,
        }
    newer = {
        "server_connection_duration_seconds_count": ({"v0.36.0", "v0.31.0"}, closed),
        'server_ready_backends{proxy_strategy="default"}': ({"v0.31.0"}, 1),
    }
    return same | {
        'server_dial_failure_count{reason="error_response"}': refused,
        "server_established_connections": opened - closed,
        "server_pending_backend_dials": 0,
        'server_grpc_connections{service_method="Connect"}': 1,
        "server_ready_backend_connections": 1,
        **{name: count for name, (lacking, count) in newer.items() if version not in lacking},
    }


async def reach(read, expected, what):
    """Wait until the metrics have the expected values; an error names those that differ."""
    try:
        await eventually(lambda: expected.items() <= read().items(), what, 10)
    except AssertionError as error:
        found = read()
        raise AssertionError(
            {key: (value, found.get(key)) for key, value in expected.items() if found.get(key) != value}
        ) from error


async def both_reach(pair, opened, closed, refused, **server_only):
    version = pair.pairing.server
    server = common("server", opened, closed, refused, version) | server_only
    await reach(pair.server_metrics, server, "the server counts alike")
    await reach(pair.agent_metrics, common("agent", opened, closed, refused, version), "the agent counts alike")


async def count_connects(pair, address):
    """Dial with HTTP CONNECT and compare the metrics while connections are open and after them."""
    async with pair.connect() as tunnel:
        async with AsyncExitStack() as held:
            for _ in range(HELD):
                held.callback((await echo_once(tunnel, address)).close)
            for _ in range(CLOSED):
                (await echo_once(tunnel, address)).close()
            for _ in range(REFUSED):
                with suppress(DialError):  # v0.31.0 accepts the dial first, and then ends the connection
                    (await tunnel.dial("127.0.0.1:1"))[1].close()
            await both_reach(pair, HELD + CLOSED, CLOSED, REFUSED, server_http_connections=HELD)
        await both_reach(pair, HELD + CLOSED, HELD + CLOSED, REFUSED, server_http_connections=0)
        return {"server": families(pair.deployment.admin_port), "agent": families(pair.agent.health_port)}


async def count_streams(pair, driver, address):
    """Dial with kube-apiserver's gRPC client and compare also the packets between server and client."""
    assert await asyncio.to_thread(driver.ok, "echo", address, count=CLOSED, size=4) == CLOSED
    for _ in range(REFUSED):
        await asyncio.to_thread(driver.error, "dial", "127.0.0.1:1")
    asked = {"DIAL_REQ": "from_client", "DATA": "from_client", "CLOSE_REQ": "from_client"}
    told = {"DIAL_RSP": "to_client", "DATA": "to_client", "CLOSE_RSP": "to_client"}
    dialled = CLOSED + REFUSED
    client = packets("server", asked, DIAL_REQ=dialled, DATA=CLOSED, CLOSE_REQ=CLOSED)
    client |= packets("server", told, DIAL_RSP=dialled, DATA=CLOSED, CLOSE_RSP=CLOSED)
    client |= {'server_grpc_connections{service_method="Proxy"}': 0}
    await both_reach(pair, CLOSED, CLOSED, REFUSED, **client)
    pair.agent.send(signal.SIGKILL)
    await reach(pair.server_metrics, {"server_ready_backend_connections": 0}, "the server has no agent")
    await asyncio.to_thread(
        driver.error, "dial", address
    )  # with HTTP CONNECT the reference does not count this failure
    await reach(pair.server_metrics, {'server_dial_failure_count{reason="no_agent"}': 1}, "the server has counted")


def families(port):
    """Return name and type of each metric of the project on a port."""
    return set(re.findall(rf"^# TYPE {PREFIX}(\S+ \S+)$", answer(port, "/metrics"), re.MULTILINE))


@pytest.fixture(scope="module")
def outcomes(on_selected_pairs, drivers):
    async def count(pair):
        async with listening(targets.echo) as address:
            if pair.pairing.frontend == "grpc":
                return await count_streams(pair, drivers(pair.deployment, "grpc-uds", ""), address)
            return await count_connects(pair, address)

    return on_selected_pairs(count)


@pytest.mark.parametrize("pairing", [*CONNECT, *GRPC], ids=str)
def test_the_same_operations_change_the_same_metrics(outcomes, pairing):
    result(outcomes[pairing])


@pytest.mark.parametrize("program", ["server", "agent"])
def test_every_metric_of_the_reference_has_its_name_and_type_in_ours(outcomes, program, record_property):
    """Names and types are read from the /metrics of both kinds of programs, after the same operations."""
    names = {pairing: result(outcomes[pairing])[program] for pairing in CONNECT if pairing in outcomes}
    kinds = {pairing: getattr(pairing, program) for pairing in names}
    ours = set.union(*(names[pairing] for pairing, kind in kinds.items() if kind == OURS))
    theirs = {kind: names[pairing] for pairing, kind in kinds.items() if kind != OURS}
    assert {name for found in theirs.values() for name in found} <= ours
    for each in sorted(set.union(*theirs.values())):
        name, kind = each.split()
        versions = ", ".join(version for version, found in theirs.items() if each in found)
        record_property("metric", (PREFIX + name, [kind, versions]))

"""Tests of health, readiness, metrics and profiles of the real programs, as kubelet and Prometheus request them."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

PREFIX = "konnectivity_network_proxy_"


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def scrape(port):
    """Return all samples of a metrics page: name with labels, as in the text, -> value."""
    status, body, headers = get(port, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    list(text_string_to_metric_families(body))
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0].removeprefix(PREFIX): float(line.rpartition(" ")[2]) for line in lines}


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return value


def test_health_and_readiness_follow_the_agents(fresh):
    fresh.start_server()
    assert get(fresh.health_port, "/healthz")[:2] == (200, "ok")
    for path in ("/readyz", "/ready"):
        assert get(fresh.health_port, path)[:2] == (500, "no connection to any proxy agent")
    assert get(fresh.health_port, "/readyz?verbose")[1] == "[-]agents failed: no connection to any proxy agent\n"
    agent = fresh.start_agent()
    until(lambda: get(fresh.health_port, "/readyz")[:2] == (200, "ok"))
    assert get(fresh.health_port, "/readyz?verbose")[1] == "[+]agents ok\ncheck passed\n"
    assert get(agent.health_port, "/readyz")[:2] == (200, "ok")
    assert get(agent.health_port, "/readyz?verbose")[1] == "[+]ping ok\n[+]server-connected ok\ncheck passed\n"
    assert get(agent.health_port, "/nothing")[:2] == (404, "404 page not found\n")


def test_an_agent_without_a_server_lives_and_is_not_ready(fresh):
    server = fresh.start_server()
    agent = fresh.start_agent()
    assert scrape(agent.health_port)["agent_open_server_connections"] == 1
    server.stop()
    until(lambda: get(agent.health_port, "/readyz")[0] == 503)
    assert get(agent.health_port, "/readyz")[1] == "[+]ping ok\n[-]server-connected failed: no servers connected\n"
    assert get(agent.health_port, "/healthz")[:2] == (200, "ok")
    assert scrape(agent.health_port)["agent_open_server_connections"] == 0


def test_the_agents_admin_port_sends_scrapers_to_the_health_port(fresh):
    fresh.start_server()
    agent = fresh.start_agent()
    status, _, headers = get(agent.admin_port, "/metrics?a=b")
    assert (status, headers["Location"]) == (301, f"//127.0.0.1:{agent.health_port}/metrics?a=b")
    assert get(agent.admin_port, "/debug/pprof/")[0] == 404


def test_profiling_only_where_it_is_enabled(fresh):
    fresh.start_server("--enable-profiling", "--enable-contention-profiling")
    agent = fresh.start_agent("--enable-profiling")
    assert get(fresh.admin_port, "/debug/pprof")[0] == 301
    assert "goroutine" in get(fresh.admin_port, "/debug/pprof/")[1]
    assert "tasks" in get(agent.admin_port, "/debug/pprof/goroutine")[1]
    assert "the worst" in get(fresh.admin_port, "/debug/pprof/block")[1]
    assert get(agent.admin_port, "/debug/pprof/block")[0] == 404
    assert "VmRSS" in get(agent.admin_port, "/debug/pprof/heap")[1]
    for port in (fresh.admin_port, agent.admin_port):
        assert get(port, "/debug/pprof/", Host="evil.example")[0] == 421, "DNS rebinding"


async def test_what_a_connection_leaves_in_the_counters(fresh):
    fresh.start_server()
    agent = fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend("grpc", True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(bytes(100_000))
        await reader.readexactly(100_000)
        server = await asyncio.to_thread(scrape, fresh.health_port)
        assert server["server_established_connections"] == 1
        assert server['server_grpc_connections{service_method="Proxy"}'] == 1
        assert server['server_grpc_connections{service_method="Connect"}'] == 1
        assert (await asyncio.to_thread(scrape, agent.health_port))["agent_open_endpoint_connections"] == 1
        writer.close()
        await writer.wait_closed()
    server = await asyncio.to_thread(
        until, lambda: (s := scrape(fresh.admin_port))["server_established_connections"] == 0 and s
    )
    assert server['server_stream_packets_total{segment="from_client",packet_type="DIAL_REQ"}'] == 1
    assert server['server_stream_packets_total{segment="to_client",packet_type="DIAL_RSP"}'] == 1
    assert server['server_stream_packets_total{segment="to_agent",packet_type="DIAL_REQ"}'] == 1
    assert server['server_stream_packets_total{segment="from_agent",packet_type="DATA"}'] >= 2
    assert server['server_bytes_total{direction="to_agent"}'] == 100_000
    assert server['server_bytes_total{direction="from_agent"}'] == 100_000
    assert server["server_dial_duration_seconds_count"] == 1
    assert server["server_connection_duration_seconds_count"] == 1
    assert server['server_connections_closed_total{cause="end",side="client"}'] == 1
    assert server["server_pending_backend_dials"] == 0
    assert server["server_buffered_bytes"] == 0
    agents = await asyncio.to_thread(scrape, agent.health_port)
    assert agents["agent_dial_duration_seconds_count"] == 1
    assert agents['agent_stream_packets_total{segment="to_agent",packet_type="DIAL_REQ"}'] == 1
    assert agents['agent_bytes_total{direction="to_server"}'] == 100_000


async def test_connect_clients_are_counted_while_they_live(fresh):
    fresh.start_server()
    fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        _, writer = await tunnel.dial(address)
        assert (await asyncio.to_thread(scrape, fresh.admin_port))["server_http_connections"] == 1
        writer.close()
        await writer.wait_closed()
        await asyncio.to_thread(until, lambda: scrape(fresh.admin_port)["server_http_connections"] == 0)
        with pytest.raises(DialError):
            await tunnel.dial("127.0.0.1:1")
        await asyncio.to_thread(until, lambda: scrape(fresh.admin_port)["server_http_connections"] == 0)


async def test_failed_dials_by_reason(fresh):
    server = fresh.start_server()
    assert not [name for name in scrape(fresh.admin_port) if "dial_failure" in name]
    async with connect(**fresh.frontend("http-connect", True)) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial("127.0.0.1:1")
        agent = fresh.start_agent()
        with pytest.raises(DialError):
            await tunnel.dial("127.0.0.1:1")
    counted = await asyncio.to_thread(scrape, fresh.admin_port)
    failures = {name: value for name, value in counted.items() if "dial_failure" in name}
    assert failures == {
        'server_dial_failure_count{reason="no_agent"}': 1,
        'server_dial_failure_count{reason="error_response"}': 1,
    }
    agents = await asyncio.to_thread(scrape, agent.health_port)
    assert agents['agent_endpoint_dial_failure_total{reason="unknown"}'] == 1
    assert "Error" not in server.log


# --- names, types and HELP texts, to the letter -----------------------------------------------------------------------

SERVER_AT_REST = {
    "server_dial_duration_seconds": ("histogram", "Latency of dial to the remote endpoint in seconds"),
    "server_frontend_write_duration_seconds": ("histogram", "Latency of write to the frontend in seconds"),
    "server_connection_duration_seconds": (
        "histogram",
        "Duration in seconds a proxied end-to-end connection was established (post-dial) before being closed.",
    ),
    "server_http_connections": ("gauge", "Number of current HTTP CONNECT connections"),
    "server_ready_backend_connections": (
        "gauge",
        "Number of konnectivity agent connected to the proxy server. DEPRECATED, please use ready_backends",
    ),
    "server_ready_backends": ("gauge", "Number of konnectivity agent connected to the proxy server"),
    "server_pending_backend_dials": ("gauge", "Current number of pending backend dial requests"),
    "server_established_connections": (
        "gauge",
        "Current number of established end-to-end connections (post-dial).",
    ),
}
SERVER_IN_USE = {
    "server_grpc_connections": ("gauge", "Number of current grpc connections, partitioned by service method."),
    "server_dial_failure_count": (
        "counter",
        "Number of dial failures observed. Multiple failures can occur for a single dial request.",
    ),
    "server_stream_packets_total": (
        "counter",
        "Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)",
    ),
}
AGENT_AT_REST = {
    "agent_dial_duration_seconds": ("histogram", "Latency of dial to the remote endpoint in seconds"),
    "agent_open_server_connections": ("gauge", "Current number of open server connections."),
    "agent_known_server_count": ("gauge", "Current number of servers agent is trying to connect to."),
    "agent_open_endpoint_connections": ("gauge", "Current number of open endpoint connections."),
}
AGENT_IN_USE = {
    "agent_endpoint_dial_failure_total": (
        "counter",
        "Number of failures dialing the remote endpoint, by reason (example: timeout).",
    ),
    "agent_stream_packets_total": (
        "counter",
        "Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)",
    ),
}


def described(port):
    body = get(port, "/metrics")[1]
    kinds = dict(re.findall(rf"^# TYPE {PREFIX}(\S+) (\S+)$", body, re.MULTILINE))
    helps = dict(re.findall(rf"^# HELP {PREFIX}(\S+) (.*)$", body, re.MULTILINE))
    return {name: (kind, helps[name]) for name, kind in kinds.items()}


async def test_names_types_and_help_texts(fresh):
    fresh.start_server()
    found = described(fresh.admin_port)
    assert {name: found.get(name) for name in SERVER_AT_REST} == SERVER_AT_REST
    assert not set(SERVER_IN_USE) & set(found)
    agent = fresh.start_agent()
    found = described(agent.health_port)
    assert {name: found.get(name) for name in AGENT_AT_REST} == AGENT_AT_REST
    assert not set(AGENT_IN_USE) & set(found)
    async with connect(**fresh.frontend("grpc", True)) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial("127.0.0.1:1")
        found = await asyncio.to_thread(described, fresh.admin_port)
        assert {name: found.get(name) for name in SERVER_IN_USE} == SERVER_IN_USE
        found = await asyncio.to_thread(described, agent.health_port)
        assert {name: found.get(name) for name in AGENT_IN_USE} == AGENT_IN_USE


def test_buckets(fresh):
    fresh.start_server()
    agent = fresh.start_agent()
    body = get(fresh.admin_port, "/metrics")[1] + get(agent.health_port, "/metrics")[1]

    def buckets(name):
        return re.findall(rf'^{PREFIX}{name}_bucket{{le="([^"]+)"}}', body, re.MULTILINE)

    dial = ["1e-06", "1e-05", "0.0001", "0.005", "0.025", "0.1", "0.5", "2.5", "12.5", "+Inf"]
    assert buckets("server_dial_duration_seconds") == dial
    assert buckets("server_frontend_write_duration_seconds") == dial
    assert buckets("server_connection_duration_seconds") == (
        ["1", "5", "15", "30", "60", "300", "900", "1800", "3600", "14400", "43200", "86400", "+Inf"]
    )
    assert buckets("agent_dial_duration_seconds") == ["0.005", "0.025", "0.1", "0.5", "2.5", "10", "30", "+Inf"]


def explained(port, destination, *more):
    command = [
        sys.executable,
        "-m",
        "konnectivity.tool.cli",
        "explain-route",
        destination,
        f"--admin=127.0.0.1:{port}",
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_where_a_dial_would_go_and_why(fresh):
    fresh.start_server("--proxy-strategies=destHost,defaultRoute")
    nobody = explained(fresh.admin_port, "10.0.0.1:10250")
    assert nobody.returncode == 1
    assert "No agent available" in nobody.stdout
    fresh.start_agent("--agent-id=near", "--agent-identifiers=cidr=10.0.0.0/8")
    fresh.start_agent("--agent-id=gate", "--agent-identifiers=default-route=true")
    near = explained(fresh.admin_port, "10.0.0.1:10250")
    assert near.returncode == 0
    assert "destHost: 1 agents, 1 ready" in near.stdout
    assert "near  ready" in near.stdout
    assert "defaultRoute" not in near.stdout
    far = json.loads(explained(fresh.admin_port, "[fd00::1]:443", "-o", "json").stdout)
    assert (far["host"], far["decided_by"]) == ("fd00::1", "defaultRoute")
    status, body, _ = get(fresh.admin_port, "/api/v1/agents")
    agents = {each["id"]: each for each in json.loads(body)}
    assert status == 200
    assert agents["near"]["identifiers"] == {"cidr": ["10.0.0.0/8"]}
    assert agents["gate"]["default_route"]
    assert agents["gate"]["state"] == "ready"
    assert get(fresh.admin_port, "/api/v1/route")[0] == 400
    wrong = explained(1, "10.0.0.1:10250")
    assert wrong.returncode == 2
    assert "cannot ask" in wrong.stderr


def test_ready_backends_count_what_a_strategy_can_choose_from(fresh):
    fresh.start_server("--proxy-strategies=destHost,defaultRoute,default")
    fresh.start_agent("--agent-identifiers=ipv4=10.0.0.1&host=a&host=b")
    fresh.start_agent("--agent-identifiers=default-route=true")
    counted = until(
        lambda: (s := scrape(fresh.admin_port))['server_ready_backends{proxy_strategy="default"}'] == 2 and s
    )
    assert counted['server_ready_backends{proxy_strategy="destHost"}'] == 3
    assert counted['server_ready_backends{proxy_strategy="defaultRoute"}'] == 1


def test_a_taken_health_port_is_logged_and_the_tunnel_works(fresh):
    fresh.start_server()
    second = fresh.start_server(f"--agent-port={free_port()}", f"--server-port={free_port()}", "--uds-name=")
    second.wait_for("Listener failed, going on without it")
    assert second.returncode is None

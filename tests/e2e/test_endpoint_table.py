"""Tests of every path on the health and admin ports of both programs: status, body and headers for each method."""

from __future__ import annotations

import http.client
import re
import socket
import time
from typing import NamedTuple

import pytest

from konnectivity.testing.deployment import Deployment, free_port

PLAIN = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
NOT_FOUND = "404 page not found\n"
NO_AGENT = "no connection to any proxy agent"
NO_SERVER = "[+]ping ok\n[-]server-connected failed: no servers connected\n"
CONNECTED = "[+]ping ok\n[+]server-connected ok\ncheck passed\n"


class Row(NamedTuple):
    """Expected answer of one path. `body` is the whole body, or, between slashes, a pattern that occurs in it."""

    path: str
    status: int
    body: str
    content_type: str = PLAIN


HEALTH = (
    Row("/healthz", 200, "ok"),
    Row("/healthz?verbose", 200, "ok"),
    Row("/healthz?anything=1", 200, "ok"),
    Row("http://node/healthz", 200, "ok"),
    Row("/metrics", 200, "/# TYPE konnectivity_network_proxy_/", "text/plain; version=0.0.4; charset=utf-8"),
    Row("/", 404, NOT_FOUND),
    Row("/nothing", 404, NOT_FOUND),
    Row("/healthz/", 404, NOT_FOUND),
    Row("/HEALTHZ", 404, NOT_FOUND),
    Row("/livez", 404, NOT_FOUND),
    Row("/debug/pprof/", 404, NOT_FOUND),
)
NO_PAGE = Row("/", 404, NOT_FOUND)
NO_PROFILES = (
    Row("/healthz", 404, NOT_FOUND),
    Row("/readyz", 404, NOT_FOUND),
    Row("/debug/pprof", 404, NOT_FOUND),
    Row("/debug/pprof/", 404, NOT_FOUND),
    Row("/debug/pprof/goroutine", 404, NOT_FOUND),
    Row("/debug/pprof/profile", 404, NOT_FOUND),
)
PROFILES = (
    Row("/healthz", 404, NOT_FOUND),
    Row("/debug/pprof", 301, "", ""),
    Row("/debug/pprof/", 200, "/Profiles of this process/"),
    Row("/debug/pprof/goroutine", 200, "/[0-9]+ tasks, [0-9]+ threads/"),
    Row("/debug/pprof/heap", 200, "/VmRSS/"),
    Row("/debug/pprof/profile?seconds=1", 200, "/py:/"),
    Row("/debug/pprof/block", 404, "/not measured: start the program with --enable-contention-profiling/"),
    Row("/debug/pprof/cmdline", 404, NOT_FOUND),  # served on no port
    Row("/debug/pprof/symbol", 404, NOT_FOUND),  # Python has no machine code addresses
    Row("/debug/pprof/trace", 404, NOT_FOUND),  # traces of the Go scheduler
)
METRICS = Row(
    "/metrics", 200, "/# TYPE konnectivity_network_proxy_server_/", "text/plain; version=0.0.4; charset=utf-8"
)
API = (
    Row("/api/v1/agents", 200, "/^\\[/", "application/json"),
    Row("/api/v1/peers", 200, "[]\n", "application/json"),
    Row("/api/v1/route?destination=a:1", 200, '/"verdict": /', "application/json"),
    Row("/api/v1/route", 400, '/"error": /', "application/json"),
    Row("/api/v1/overview", 200, '/"version": /', "application/json"),
    Row("/api/v1/overview?history=x", 400, '/"error": "history: a number/', "application/json"),
    Row("/api/v1/connections", 200, '/"connections": \\[\\]/', "application/json"),
    Row("/api/v1/connections?sort=x", 400, '/"error": "sort: one of/', "application/json"),
    Row("/api/v1/agents?limit=0", 200, '/"agents": \\[\\]/', "application/json"),
    Row("/api/v1/agents?limit=x", 400, '/"error": "limit: a number/', "application/json"),
)
PAGE = (
    Row("/", 200, "/<title>Konnectivity server/", "text/html; charset=utf-8"),
    Row("/dashboard", 200, "/<title>Konnectivity server/", "text/html; charset=utf-8"),
    Row("/dashboard/app.js", 200, "/refresh/", "text/javascript; charset=utf-8"),
    Row("/dashboard/style.css", 200, "/color-scheme/", "text/css; charset=utf-8"),
    Row("/dashboard/icon.svg", 200, "/<svg/", "image/svg+xml"),
    Row("/dashboard/", 404, NOT_FOUND),
    Row("/dashboard/__init__.py", 404, NOT_FOUND),
    Row("/dashboard/../app.py", 404, NOT_FOUND),
)
# (process, port) -> rows. Only the ready processes run with --enable-profiling.
TABLE = {
    ("ready server", "health"): (
        *HEALTH,
        Row("/readyz", 200, "ok"),
        Row("/ready", 200, "ok"),
        Row("/readyz?verbose", 200, "[+]agents ok\ncheck passed\n"),
    ),
    ("ready server", "admin"): (METRICS, *API, *PROFILES, *PAGE),
    ("server without agents", "health"): (
        *HEALTH,
        Row("/readyz", 500, NO_AGENT),
        Row("/ready", 500, NO_AGENT),
        Row("/readyz?verbose", 500, f"[-]agents failed: {NO_AGENT}\n"),
    ),
    ("server without agents", "admin"): (METRICS, *API, *NO_PROFILES, NO_PAGE),
    ("ready agent", "health"): (
        *HEALTH,
        Row("/readyz", 200, "ok"),
        Row("/ready", 200, "ok"),
        Row("/readyz?verbose", 200, CONNECTED),
        Row("/readyz?verbose=false", 200, CONNECTED),
        Row("/readyz?a=b&verbose", 200, CONNECTED),
        Row("/readyz?verbosely", 200, "ok"),
    ),
    ("ready agent", "admin"): (*PROFILES, NO_PAGE),
    ("agent without servers", "health"): (
        *HEALTH,
        Row("/readyz", 503, NO_SERVER),
        Row("/ready", 503, NO_SERVER),
        Row("/readyz?verbose", 503, NO_SERVER),
    ),
    ("agent without servers", "admin"): (*NO_PROFILES, NO_PAGE),
}
CASES = [(*where, row) for where, rows in TABLE.items() for row in rows]


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """Return the port numbers by process and port name."""
    ready, alone = (Deployment(tmp_path_factory.mktemp(name)) for name in ("ready", "alone"))
    try:
        ready.start_server("--enable-profiling")
        agent = ready.start_agent("--enable-profiling")
        alone.start_server("--enable-dashboard=false")
        health, admin = free_port(), free_port()
        lost = alone.agent_arguments(port=free_port(), health_port=health, admin_port=admin)
        alone.start_package("konnectivity_agent", lost).wait_for("Cannot connect to the server")
        yield {
            ("ready server", "health"): ready.health_port,
            ("ready server", "admin"): ready.admin_port,
            ("server without agents", "health"): alone.health_port,
            ("server without agents", "admin"): alone.admin_port,
            ("ready agent", "health"): agent.health_port,
            ("ready agent", "admin"): agent.admin_port,
            ("agent without servers", "health"): health,
            ("agent without servers", "admin"): admin,
        }
    finally:
        ready.stop()
        alone.stop()


class Client:
    """HTTP client that keeps one connection, so that an answer of the wrong length spoils the next answer."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, method, path, **headers):
        self._connection.request(method, path, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())


@pytest.mark.parametrize(("process", "port", "row"), CASES, ids=[f"{a}-{b}-{row.path}" for a, b, row in CASES])
def test_a_path(ports, process, port, row):
    slow = "profile" in row.path
    with Client(ports[process, port]) as client:
        for method in ("GET", "HEAD") if slow else METHODS:
            status, body, headers = client.ask(method, row.path)
            assert (status, headers.get("Content-Type", "")) == (row.status, row.content_type), method
            if method == "HEAD":
                assert body == ""
            elif row.body.startswith("/"):
                assert re.search(row.body[1:-1], body), body[:300]
            else:
                assert body == row.body
            if not row.body.startswith("/"):
                assert headers["Content-Length"] == str(len(row.body))
            assert headers["Date"]


@pytest.mark.parametrize("process", ["ready server", "ready agent"])
def test_profiles_are_where_people_look(ports, process):
    with Client(ports[process, "admin"]) as client:
        assert client.ask("GET", "/debug/pprof")[2]["Location"] == "/debug/pprof/"


@pytest.mark.parametrize("process", ["ready agent", "agent without servers"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("host", "path", "location"),
    [
        ("127.0.0.1:8133", "/metrics", "//127.0.0.1:{port}/metrics"),
        ("node-1", "/metrics", "//node-1:{port}/metrics"),
        ("[::1]:8133", "/metrics", "//[::1]:{port}/metrics"),
        ("[::1]", "/metrics", "//[::1]:{port}/metrics"),
        ("node-1:8133", "/metrics?a=b&c", "//node-1:{port}/metrics?a=b&c"),
    ],
)
def test_the_agents_admin_port_sends_scrapers_to_its_health_port(ports, process, method, host, path, location):
    with Client(ports[process, "admin"]) as client:
        status, body, headers = client.ask(method, path, Host=host)
        assert (status, body) == (301, "")
        assert headers["Location"] == location.format(port=ports[process, "health"])


def test_both_ports_of_the_server_have_the_same_metrics(ports):
    families = []
    for port in ("health", "admin"):
        with Client(ports["ready server", port]) as client:
            families.append(re.findall("# (?:TYPE|HELP) .*", client.ask("GET", "/metrics")[1]))
    assert families[0] == families[1]
    assert len([line for line in families[0] if "TYPE process_" in line]) >= 4


def test_a_profile_takes_as_long_as_asked_for(ports):
    started = time.monotonic()
    with Client(ports["ready server", "admin"]) as client:
        assert client.ask("GET", "/debug/pprof/profile?seconds=1")[0] == 200
    assert 0.9 < time.monotonic() - started < 5


def reachable(address, port):
    try:
        with socket.create_connection((address, port), 5):
            return True
    except ConnectionRefusedError:
        return False


def test_the_health_port_is_open_to_all_and_the_admin_port_to_whom_it_is_said(ports, tmp_path):
    """An empty bind address opens a port to other addresses (127.0.0.2); by default admin ports are on 127.0.0.1."""
    deployment = Deployment(tmp_path)
    try:
        deployment.start_server("--health-bind-address=", "--admin-bind-address=")
        agent = deployment.start_agent("--health-server-host=", "--admin-bind-address=")
        for port in (deployment.health_port, deployment.admin_port, agent.health_port, agent.admin_port):
            assert reachable("127.0.0.2", port)
    finally:
        deployment.stop()
    for process in ("ready server", "ready agent"):  # admin ports listen on the default address
        assert reachable("127.0.0.1", ports[process, "admin"])
        assert not reachable("127.0.0.2", ports[process, "admin"])

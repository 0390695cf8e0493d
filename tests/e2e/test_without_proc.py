"""Tests of programs on a system, or in a sandbox, without /proc."""

from __future__ import annotations

import http.client
import json
import os

import pytest

from konnectivity_server.api.overview import resident_bytes

HIDE_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding /proc needs root")
@pytest.mark.parametrize("workers", [1, 2])
def test_every_endpoint_answers(fresh, workers):
    arguments = fresh.server_arguments("--enable-profiling", *([f"--workers={workers}"] if workers > 1 else []))
    server = fresh.start_package("konnectivity_server", arguments, within=HIDE_PROC)
    server.wait_for("Proxy server started", times=workers)
    agent = fresh.start_agent(within=HIDE_PROC)
    agent.wait_for("Connected to server", times=workers)
    for path in ("/api/v1/overview", "/api/v1/agents", "/api/v1/connections", "/api/v1/peers", "/debug/pprof/heap"):
        assert get(fresh.admin_port, path)[0] == 200, path
    for port in (fresh.health_port, agent.health_port):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert get(port, path)[0] == 200, path
    found = json.loads(get(fresh.admin_port, "/api/v1/overview")[1])
    assert found["memory"]["resident_bytes"] > 1 << 20


@pytest.mark.parametrize("content", [None, "", "1", "a b"])
def test_what_cannot_be_read_is_replaced_by_the_peak(tmp_path, content):
    path = tmp_path / "statm"
    if content is not None:
        path.write_text(content)
    assert resident_bytes(str(path)) > 1 << 20

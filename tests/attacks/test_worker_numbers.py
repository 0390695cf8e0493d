"""Tests of query values that are not numbers, and of CONNECT, at a server's ports: answered without harm."""

from __future__ import annotations

import asyncio
import http.client
import socket

import pytest
from attack_site import honest

PROBES = [
    "/metrics?worker=%C2%B2",  # a superscript two, which str.isdigit accepts and int refuses
    "/readyz?worker=%D9%A3",
    "/ready?worker=-1",
    "/metrics?worker=2",
    "/readyz?worker=99999999999999999999",
    "/metrics?worker=" + "9" * 5000,
    "/metrics?worker=1_0",
    "/metrics?worker=%00",
]
CONNECT_PATHS = ["/metrics", "/readyz", "/api/v1/overview", "127.0.0.1:1"]
ADMIN_PROBES = [
    "/api/v1/agents?worker=%C2%B2",
    "/api/v1/agents?limit=%C2%B2",
    "/api/v1/connections?limit=" + "9" * 5000,
    "/api/v1/overview?history=%E2%91%A4",
]


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def connect_status(port: int, path: str) -> str:
    """Return the status of the answer to CONNECT, which `http.client` keeps for tunnels."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"CONNECT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return connection.recv(4096).decode().split()[1]


@pytest.mark.parametrize("workers", [1, 2])
async def test_odd_numbers_end_nothing(site, workers):
    arguments = [f"--workers={workers}"] if workers > 1 else []
    server = site.start_package("konnectivity_server", site.server_arguments(*arguments))
    await asyncio.to_thread(server.wait_for, "Proxy server started", workers)
    agent = await asyncio.to_thread(site.agent)
    await asyncio.to_thread(agent.wait_for, "Connected to server", workers)
    async with honest(site) as client:
        for _ in range(3):
            found = [await asyncio.to_thread(status, site.health_port, path) for path in PROBES]
            assert found == [400 if workers > 1 else 200] * len(PROBES)
            found = [await asyncio.to_thread(status, site.admin_port, path) for path in ADMIN_PROBES]
            assert found == [400 if workers > 1 else 200] + [400] * (len(ADMIN_PROBES) - 1)
            ports = (site.health_port, site.admin_port)
            found = [await asyncio.to_thread(connect_status, port, path) for port in ports for path in CONNECT_PATHS]
            assert set(found) == {"405"}
    client.check()
    assert server.returncode is None
    assert site.metric("server_unexpected_errors_total") == 0

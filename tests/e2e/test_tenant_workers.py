"""Tests of --workers with --tenants: processes that serve one directory, and look like one server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from hashlib import sha256
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from konnectivity.client import DialError, connect
from konnectivity_server.workers.worker import Worker
from support.forward_proxy_server import ForwardProxy
from support.targets import echo, listening
from support.tenant_site import TenantSite

SERVED, FEW, IDLE = ("a", "g"), "e", "d"  # unix sockets at worker 0 and 1; an agent at one worker only; no agent
NAMES = (*SERVED, FEW, IDLE)
TOKEN = "token-of-the-server"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a server of two workers, to both of which the agents of `SERVED` are connected."""
    assert [Worker(1, 2, "", -1, 0).listens_for(name) for name in SERVED] == [False, True]
    site = TenantSite(tmp_path_factory.mktemp("site"))
    tokens = site.deployment.directory / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    for name in NAMES:
        digest = sha256(token_of(name).encode()).hexdigest()
        socket, own = f"uds-name: {socket_of(site, name)}", f"admin-token-sha256: {digest}"
        site.add(name, socket, own, "delete-existing-uds-file: false")
    with ForwardProxy({site.name_of(name): "127.0.0.1" for name in NAMES}) as proxy:
        site.server = site.deployment.start_package(
            "konnectivity_server", site.server_arguments("--workers=2", f"--admin-token-file={tokens}")
        )
        site.server.wait_for("Proxy server started", times=2)
        for name in SERVED:
            site.start_agent(proxy, name, "", True, "--sync-interval-cap=2s")
        site.start_agent(proxy, FEW, "", True, "--sync-interval=300s", "--sync-interval-cap=300s")
        until(lambda: all(tenants(site)[name]["agents"] == 2 for name in SERVED))
        until(lambda: tenants(site)[FEW]["state"] == "ready")
        yield site
        site.deployment.stop()


def socket_of(site: TenantSite, name: str) -> str:
    return site.deployment.path(f"{name}.sock")


def token_of(name: str) -> str:
    return f"token-of-the-tenant-{name}"


def fetch(site: TenantSite, path: str, port: int = 0, token: str = TOKEN) -> str:
    url = f"http://127.0.0.1:{port or site.deployment.admin_port}{path}"
    with urlopen(Request(url, headers={"Authorization": f"Bearer {token}"})) as answer:
        return answer.read().decode()


def tenants(site: TenantSite, query: str = "") -> dict[str, dict]:
    return {each["name"]: each for each in json.loads(fetch(site, f"/api/v1/tenants{query}"))["tenants"]}


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def worker_of(site: TenantSite, index: int) -> int:
    """Return the process id of a worker."""
    with open(f"/proc/{site.server.pid}/task/{site.server.pid}/children") as children:
        found = [int(each) for each in children.read().split()]
    for pid in found:
        with open(f"/proc/{pid}/environ") as environment:
            if f'"index": {index},' in environment.read():
                return pid
    raise AssertionError(f"worker {index} does not run")


async def echoes(target: str, count: int, **frontend) -> None:
    """Open connections through a frontend one after the other, and check an echo on each."""
    for _ in range(count):
        async with connect(**frontend) as tunnel:
            reader, writer = await tunnel.dial(target)
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
            writer.close()
            await writer.wait_closed()


async def test_a_dial_at_any_worker_reaches_the_agent_of_its_tenant_and_no_other(site):
    async with listening(echo) as address:
        for name in (*SERVED, FEW):
            await echoes(address, 12, **site.frontend(name))
            await echoes(address, 1, address=f"unix:{socket_of(site, name)}")
        for frontend in (*[site.frontend(IDLE)] * 6, {"address": f"unix:{socket_of(site, IDLE)}"}):
            async with connect(**frontend) as tunnel:
                with pytest.raises(DialError, match="No agent available"):
                    await tunnel.dial(address)


def test_the_answers_of_the_workers_are_those_of_one_server(site):
    health = site.deployment.health_port
    rows = tenants(site)
    for name, row in rows.items():
        assert row["agents"] == len(json.loads(fetch(site, f"/api/v1/agents?tenant={name}"))), name
    assert (rows[IDLE]["agents"], rows["a"]["agents"]) == (0, 2)
    assert set(tenants(site, "?sort=-agents&limit=2&match=tenants.example")) <= {*SERVED, FEW}
    peers = json.loads(fetch(site, "/api/v1/peers?tenant=a"))
    assert sorted((each["worker"], each["id"][-2:]) for each in peers) == [(0, "-1"), (1, "-0")]
    assert json.loads(fetch(site, "/api/v1/overview?tenant=a"))["ready"] is True
    assert fetch(site, "/readyz?tenant=a", health) == fetch(site, "/readyz", health) == "ok"
    with pytest.raises(HTTPError, match="500"):
        fetch(site, f"/readyz?tenant={IDLE}", health)
    text = fetch(site, "/metrics")
    assert 'server_ready_backend_connections{tenant="a"} 2' in text
    assert 'server_tenants{state="ready"} 3' in text
    assert "dashboard/tenants.js" in fetch(site, "/")


def test_the_token_of_a_tenant_shows_its_row_and_no_other(site):
    found = json.loads(fetch(site, "/api/v1/tenants", token=token_of("a")))
    assert (found["tenant"], found["total"], [each["agents"] for each in found["tenants"]]) == ("a", 1, [2])
    assert len(json.loads(fetch(site, "/api/v1/agents?tenant=a", token=token_of("a")))) == 2
    for path in ("/api/v1/agents?tenant=g", "/api/v1/tenants?tenant=g", "/metrics"):
        with pytest.raises(HTTPError, match="403"):
            fetch(site, path, token=token_of("a"))


async def test_a_worker_that_is_killed_opens_its_unix_sockets_again_and_disturbs_no_other_worker(site):
    """The socket of `a` is that of worker 0; an agent whose worker is killed connects again."""
    async with listening(echo) as address, connect(f"unix:{socket_of(site, 'g')}") as tunnel:
        reader, writer = await tunnel.dial(address)
        victim = worker_of(site, 0)
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(site.server.wait_for, "Proxy server started", 3)
        await asyncio.to_thread(until, lambda: tenants(site)["a"]["state"] == "ready")
        await echoes(address, 3, address=f"unix:{socket_of(site, 'a')}")
        await echoes(address, 6, **site.frontend("a"))
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_a_tenant_that_comes_and_goes_has_its_socket_at_one_worker(site):
    site.add("f", f"uds-name: {socket_of(site, 'f')}")
    await asyncio.to_thread(until, lambda: listens(socket_of(site, "f")))
    async with connect(f"unix:{socket_of(site, 'f')}") as tunnel:
        with pytest.raises(DialError, match="No agent available"):
            await tunnel.dial("127.0.0.1:1")
    os.rename(site.directory / "f", site.directory / ".f")
    await asyncio.to_thread(until, lambda: not os.path.exists(socket_of(site, "f")) and "f" not in tenants(site))
    assert "Tenant refused" not in site.server.log

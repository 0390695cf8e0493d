"""Tests of two servers with the same directory of tenants that dial through each other, tenant by tenant."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from konnectivity.client import DialError, connect, tls_context
from konnectivity.http2 import events
from konnectivity.runtime import launcher
from konnectivity.testing.deployment import ProgramProcess, free_port
from konnectivity.tool.pki.authority import Authority
from konnectivity.tunnel.tunnel_options import TunnelOptions
from support.forward_proxy_server import ForwardProxy
from support.http2_peer import HostilePeer, agent, request
from support.targets import echo, listening
from support.tenant_site import TenantSite

PEERS = "/konnectivity.PeerService/Proxy"
NAMES = ("a", "b", "c", "d")


class Gateway:
    """Two servers of one directory: peers of `one` come by its agents' port, those of `two` by a port of their own."""

    def __init__(self, directory: Path) -> None:
        self.site = TenantSite(directory)
        one = self.site.deployment
        authority = Authority.create("CA of the peers")
        (directory / "peer-ca.crt").write_bytes(authority.certificate_pem)
        authority.issue("peer", dns=("localhost",), server=True, client=True).write(directory, "peer")
        self.ports = {"one": one.agent_port, "two": free_port()}
        self.peer_ports = {"one": one.agent_port, "two": free_port()}
        self.frontends = {"one": one.server_port, "two": free_port()}
        self.admin = {"one": one.admin_port, "two": free_port()}
        self.listed = ",".join(f"localhost:{port}" for port in self.peer_ports.values())
        self.servers: dict[str, ProgramProcess] = {}

    def arguments(self, name: str, *more: str, peers: str | None = None) -> list[str]:
        path = self.site.deployment.path
        return self.site.server_arguments(
            f"--server-id={name}",
            f"--agent-port={self.ports[name]}",
            f"--server-port={self.frontends[name]}",
            f"--health-port={free_port()}",
            f"--admin-port={self.admin[name]}",
            f"--peer-port={self.peer_ports[name]}",
            "--peer-bind-address=127.0.0.1",
            f"--peers={self.listed if peers is None else peers}",
            f"--peer-cert={path('peer.crt')}",
            f"--peer-key={path('peer.key')}",
            f"--peer-ca-cert={path('peer-ca.crt')}",
            *more,
        )

    def start(self, name: str, *more: str) -> ProgramProcess:
        server = self.site.deployment.start_package("konnectivity_server", self.arguments(name, *more))
        self.servers[name] = server
        server.wait_for("Proxy server started")
        return server

    def start_agent(self, tenant: str, server: str) -> ProgramProcess:
        return self.site.start_agent(
            self.proxy, tenant, "", True, f"--proxy-server-port={self.ports[server]}", "--sync-interval-cap=20s"
        )

    def frontend(self, tenant: str, server: str) -> dict:
        return self.site.frontend(tenant) | {"address": f"127.0.0.1:{self.frontends[server]}"}

    def fetch(self, server: str, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.admin[server]}{path}") as answer:
            return answer.read().decode()

    def peers(self, server: str, tenant: str) -> list[tuple[str, str]]:
        """Return id and state of the peer servers of a tenant, as a server lists them."""
        try:
            found = json.loads(self.fetch(server, f"/api/v1/peers?tenant={tenant}"))
        except HTTPError:
            return []
        return [(each["id"], each["state"]) for each in found]


def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    """Return a gateway where agents of `a` are connected to `two` only, and those of `b` to `one` only."""
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    for name in NAMES:
        gateway.site.add(name)
    with ForwardProxy({gateway.site.name_of(name): "127.0.0.1" for name in NAMES}) as proxy:
        gateway.proxy = proxy
        for name in ("one", "two"):
            gateway.start(name)
        gateway.start_agent("a", "two")
        gateway.start_agent("b", "one")
        until(lambda: gateway.peers("one", "a") == [("two", "ready")])
        until(lambda: gateway.peers("two", "b") == [("one", "ready")])
        yield gateway
        gateway.site.deployment.stop()


@asynccontextmanager
async def relayed(gateway: Gateway, tenant: str, server: str, address: str):
    """Open a connection of a tenant at a server, and yield a function that checks an echo on it."""
    async with connect(**gateway.frontend(tenant, server)) as tunnel:
        reader, writer = await tunnel.dial(address)

        async def echoes() -> bool:
            writer.write(b"hello")
            return await asyncio.wait_for(reader.read(5), 5) == b"hello"

        assert await echoes()
        yield echoes
        writer.close()


async def test_dials_go_through_the_other_server_to_agents_of_the_same_tenant_only(gateway):
    async with listening(echo) as address:
        async with relayed(gateway, "a", "one", address), relayed(gateway, "b", "two", address):
            text = gateway.fetch("one", "/metrics")
            assert 'server_peers{tenant="a",state="ready"} 1' in text
            assert 'server_peer_connections{tenant="a"} 1' in text
            assert 'server_peer_connections{tenant="b"} 0' in text
        for server in ("one", "two"):
            async with connect(**gateway.frontend("c", server)) as tunnel:
                with pytest.raises(DialError, match="No agent available"):
                    await tunnel.dial(address)
    assert gateway.peers("one", "c") == [("two", "without agents")]
    assert 'end="peers",kind="certificate"' in gateway.fetch("one", "/metrics")


async def test_agents_are_told_the_number_of_servers_that_their_tenant_has(gateway):
    peer = await opened(gateway, gateway.ports["two"], gateway.site.name_of("c"), "c", "ca")
    await peer.call(agent("c-agent"))
    await peer.say()
    assert dict((await asyncio.wait_for(peer.hear(events.HeadersReceived), 10)).headers)["servercount"] == "2"
    peer.close()


def context_of(gateway: Gateway, stem: str, authority: str) -> ssl.SSLContext:
    path = gateway.site.deployment.path
    context = tls_context(path(f"{authority}.crt"), path(f"{stem}.crt"), path(f"{stem}.key"), "grpc")
    context.check_hostname = False
    return context


async def opened(gateway: Gateway, port: int, name: str, stem: str = "peer", authority: str = "peer-ca"):
    context = context_of(gateway, stem, authority)
    return HostilePeer(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))


async def called(peer: HostilePeer, *tenants: str) -> tuple[str, str]:
    """Call the peer service for tenants, and return the status and its message; 0: the call was accepted."""
    offer = tuple(TunnelOptions().offer().items())
    named = tuple(("tenant", each) for each in tenants)
    await peer.call(request(PEERS, ("serverid", "forged"), *offer, *named))
    await peer.say()
    answer = dict((await asyncio.wait_for(peer.hear(events.HeadersReceived), 10)).headers)
    return answer.get("grpc-status", "0"), answer.get("grpc-message", "")


@pytest.mark.parametrize("server", ["one", "two"])
async def test_a_call_of_a_peer_server_is_for_one_known_tenant_and_so_is_its_connection(gateway, server):
    port = gateway.peer_ports[server]
    for tenants, status, reason in (
        ((), "9", "has --tenants, and the peer server names no tenant"),
        (("nobody",), "5", "does not serve the tenant"),
        (("a", "b"), "9", "several tenants"),
        (("a", "a"), "9", "several tenants"),
    ):
        peer = await opened(gateway, port, "localhost")
        assert [(found, reason in text) for found, text in [await called(peer, *tenants)]] == [(status, True)]
        assert (await called(peer, "c"))[0] == "5", "the connection belongs to no tenant"
        peer.close()
    peer = await opened(gateway, port, "localhost")
    assert await called(peer, "c") == ("0", "")
    assert (await called(peer, "d"))[0] == "9", "the connection belongs to another tenant"
    peer.close()


async def test_only_a_certificate_of_the_peers_opens_their_service(gateway):
    for port in gateway.peer_ports.values():
        for tenant in ("a", "b"):
            with pytest.raises((ssl.SSLError, ConnectionError)):  # the alert follows the handshake of TLS 1.3
                peer = await opened(gateway, port, "localhost", tenant, "peer-ca")
                await called(peer, tenant)
    for port in (gateway.ports["one"], gateway.ports["two"], gateway.frontends["two"]):
        peer = await opened(gateway, port, gateway.site.name_of("a"), "a", "ca")
        assert (await called(peer, "a"))[0] == "12", "agents and frontends have no such service"
        peer.close()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            peer = await opened(gateway, port, gateway.site.name_of("a"), "peer", "ca")
            await called(peer, "a")


async def test_a_name_of_nobody_is_refused_on_the_port_that_peers_share(gateway):
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await opened(gateway, gateway.ports["one"], "elsewhere.example")


async def test_tenants_that_come_change_and_go_touch_no_relayed_connection_of_others(gateway):
    site = gateway.site
    async with listening(echo) as address, relayed(gateway, "b", "two", address) as others:
        site.add("e")
        await asyncio.to_thread(until, lambda: gateway.peers("one", "e") == [("two", "without agents")])
        async with relayed(gateway, "a", "one", address) as echoes:
            site.add("a", "backend-dial-timeout: 9s", authority=site.authorities["a"])
            for server in gateway.servers.values():
                await asyncio.to_thread(server.wait_for, "Tenant changed")
            assert await echoes(), "the connection may continue for a while"
            await asyncio.to_thread(until, lambda: gateway.peers("one", "a") == [("two", "ready")])
            async with relayed(gateway, "a", "one", address):
                pass
            shutil.rmtree(site.directory / "e")
            shutil.rmtree(site.directory / "a")
            await asyncio.to_thread(until, lambda: gateway.peers("one", "a") == [])
            with pytest.raises((AssertionError, ConnectionError, asyncio.IncompleteReadError)):
                assert await echoes()
        assert await others()
        site.add("a", authority=site.authorities["a"])
        await asyncio.to_thread(until, lambda: gateway.peers("one", "a") == [("two", "ready")])
        async with relayed(gateway, "a", "one", address):
            assert await others()


async def test_a_server_that_was_killed_is_back_for_every_tenant_with_few_lines_in_the_log(gateway):
    one, two = gateway.servers["one"], gateway.servers["two"]
    before = one.log.count("\n")
    two.send(signal.SIGKILL)
    two.wait()
    await asyncio.to_thread(until, lambda: gateway.peers("one", "a") == [])
    await asyncio.sleep(2)
    await asyncio.to_thread(gateway.start, "two")
    for name in NAMES:
        await asyncio.to_thread(until, lambda name=name: [each for each, _ in gateway.peers("one", name)] == ["two"])
    await asyncio.to_thread(until, lambda: gateway.peers("one", "a") == [("two", "ready")])
    async with listening(echo) as address, relayed(gateway, "a", "one", address):
        pass
    lines = [line for line in one.log.splitlines()[before:] if "eer" in line]
    assert sum("Cannot connect to the peer" in line for line in lines) <= 6
    assert sum("Connected to peer" in line or "Peer connection ended" in line for line in lines) <= 4


def test_a_server_of_one_cluster_and_one_of_many_refuse_each_other_with_the_reason(gateway):
    path = gateway.site.deployment.path
    server = gateway.site.deployment.start_server(
        f"--uds-name={path('single.sock')}",
        *(f"--{kind}-port={free_port()}" for kind in ("agent", "server", "health", "admin")),
        f"--peers=localhost:{gateway.peer_ports['two']}",
        f"--peer-port={free_port()}",
        f"--peer-cert={path('peer.crt')}",
        f"--peer-key={path('peer.key')}",
        f"--peer-ca-cert={path('peer-ca.crt')}",
    )
    server.wait_for("has --tenants, and the peer server names no tenant")
    server.stop()


@pytest.mark.parametrize(
    ("peers", "flags", "reason"),
    [
        ("127.0.0.1:8133", [], "--peers has 127.0.0.1, which is no TLS server name: use a DNS name, or give"),
        ("", [], "list the DNS names of all servers"),
        ("a.tenants.example", [], "tenant a: refused: the server name 'a.tenants.example' is that of the peer"),
        ("localhost", ["--peer-ca-cert="], "--peer-ca-cert is needed for --peers and --peer-port"),
    ],
)
def test_an_impossible_port_is_refused_with_what_to_do(gateway, peers, flags, reason):
    line = [*launcher.command("proxy-server"), "--check-config", *gateway.arguments("one", *flags, peers=peers)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr

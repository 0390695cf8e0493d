"""Tests of a bug in code that serves a peer, request or file: only that ends, and the error is counted and logged.

The real programs run with one function that raises the first time it is called.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from konnectivity.client import DialError, TunnelLost, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

PROGRAM = """
import functools, importlib, sys
owner = functools.reduce(getattr, {owner!r}, importlib.import_module({module!r}))
original = getattr(owner, {name!r})
left = [{skip}, 1]

@functools.wraps(original)
def broken(*args, **kwargs):
    if left[0]:
        left[0] -= 1
    elif left[1]:
        left[1] -= 1
        raise RuntimeError("broken on purpose")
    return original(*args, **kwargs)

setattr(owner, {name!r}, broken)
from {entry} import main
main()
"""
SERVER, AGENT = "konnectivity_server", "konnectivity_agent"
ENTRY = {SERVER: "konnectivity_server.server_main", AGENT: "konnectivity_agent.agent_main"}


@dataclass
class Fault:
    """Function that raises in a program, and the action that makes the program call it.

    Args:
        package: the program.
        where: "module:Class.function" or "module:function".
        task: the label under which the exception is counted.
        touch: name of the action that makes the program call the function; empty: the program calls it by itself.
        arguments: further arguments of the program.
        skip: number of calls that succeed before the call that raises.
    """

    package: str
    where: str
    task: str
    touch: str = ""
    arguments: tuple[str, ...] = ()
    other_arguments: tuple[str, ...] = ()
    skip: int = 0

    def __str__(self) -> str:
        return self.where.rpartition(":")[2]

    @property
    def program(self) -> str:
        module, _, path = self.where.partition(":")
        owner, _, name = path.rpartition(".")
        owners = owner.split(".") if owner else []
        return PROGRAM.format(module=module, owner=owners, name=name, entry=ENTRY[self.package], skip=self.skip)


FAULTS = [
    Fault(SERVER, "konnectivity.http1.health:alive", "answer", "health:/healthz"),
    Fault(SERVER, "konnectivity_server.server_metrics:ServerCollector.collect", "answer", "health:/metrics", skip=1),
    Fault(SERVER, "konnectivity_server.api.overview:of", "answer", "admin:/api/v1/overview"),
    Fault(SERVER, "konnectivity_server.api.connection_list:listed", "answer", "admin:/api/v1/connections"),
    Fault(SERVER, "konnectivity_server.api.agent_list:agents", "answer", "admin:/api/v1/agents?limit=1"),
    Fault(
        SERVER,
        "konnectivity_server.workers.supervisor_routes:SupervisorRoutes._answer",
        "answer",
        "health:/metrics",
        ("--workers=2",),
    ),
    Fault(SERVER, "konnectivity_server.workers.merged_answers:metrics", "answer", "health:/metrics", ("--workers=2",)),
    Fault(
        SERVER, "konnectivity_server.workers.supervisor_routes:ask", "answer", "admin:/api/v1/peers", ("--workers=2",)
    ),
    Fault(
        SERVER,
        "konnectivity_server.frontends.connect_frontend:ConnectProtocol.connection_made",
        "callback",
        "dial:http-connect",
    ),
    Fault(SERVER, "konnectivity_server.pending_dials:PendingDials.dial", "callback", "dial:http-connect"),
    Fault(SERVER, "konnectivity_server.frontends.grpc_frontend:ProxyService.proxy", "callback", "dial:grpc"),
    Fault(SERVER, "konnectivity_server.agents.agent_service:AgentService._admit", "callback"),
    Fault(
        SERVER,
        "konnectivity_server.agents.claim_verification:ClaimVerifier.check",
        "admission",
        arguments=("--agent-identity=certificate-san",),
        other_arguments=("--agent-id=client",),
    ),
    Fault(
        SERVER,
        "konnectivity.net.source_limit:SourceLimitedListener._handshake",
        "handshake",
        arguments=("--max-connections-per-source=100",),
    ),
    Fault(SERVER, "konnectivity.tls.certificate_reload:_Files.run", "TLS files"),
    Fault(SERVER, "konnectivity_server.peers.peer_servers:PeerServers.run", "peers", arguments=("--workers=2",)),
    Fault(SERVER, "konnectivity_server.peers.peer_servers:PeerServers._connect", "peer", arguments=("--workers=2",)),
    Fault(AGENT, "konnectivity_agent.agent_metrics:AgentCollector.collect", "answer", "agent:/metrics"),
    Fault(AGENT, "konnectivity.net.happy_eyeballs:connect_one", "dial", "dial:http-connect"),
    Fault(AGENT, "konnectivity_agent.dialer:Dialer.open", "callback", "dial:http-connect"),
    Fault(AGENT, "konnectivity_agent.server_pool:ServerPool._try", "server"),
    Fault(AGENT, "konnectivity.tls.certificate_reload:_Files.run", "TLS files"),
    Fault(
        AGENT,
        "konnectivity.grpc.grpcio_stream:ClientStream._read",
        "gRPC call",
        arguments=("--grpc-implementation=grpcio",),
    ),
]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def counted(port, program, task):
    name = f'konnectivity_network_proxy_{program}_unexpected_errors_total{{task="{task}"}} '
    try:
        return [float(line.rpartition(" ")[2]) for line in get(port, "/metrics")[1].splitlines() if name in line]
    except OSError:
        return []


async def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.05)


async def echoes(deployment, address, mode="http-connect"):
    try:
        async with asyncio.timeout(10), connect(**deployment.frontend(mode, unix=True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            answer = await reader.readexactly(5)
            writer.close()
            return answer == b"hello"
    except (OSError, DialError, TunnelLost, asyncio.IncompleteReadError, TimeoutError):
        return False


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_ends_no_program(fresh, fault):
    ports = {"health": fresh.health_port, "admin": fresh.admin_port, "agent": free_port()}
    agent_arguments = fresh.agent_arguments(health_port=ports["agent"])
    plain = {SERVER: fresh.server_arguments(), AGENT: agent_arguments}
    programs = {}
    for package in (SERVER, AGENT):
        if package == fault.package:
            arguments = ["-c", fault.program, *plain[package], *fault.arguments]
            programs[package] = fresh.start_program(Path(sys.executable), arguments)
        else:
            programs[package] = fresh.start_package(package, [*plain[package], *fault.other_arguments])
        if package == SERVER:
            await asyncio.to_thread(programs[SERVER].wait_for, "Proxy server started")
    await asyncio.to_thread(programs[AGENT].wait_for, "Connected to server")
    async with listening(targets.echo) as address:
        kind, _, what = fault.touch.partition(":")
        if kind == "dial":
            assert not await echoes(fresh, address, what)
        elif kind:
            await until(lambda: get(ports[kind], "/healthz")[0] in (200, 404))
            if what != "/healthz":
                assert get(ports[kind], what)[0] in (200, 500)
        label, port = ("server", ports["health"]) if fault.package == SERVER else ("agent", ports["agent"])
        await until(lambda: counted(port, label, fault.task))
        async with asyncio.timeout(20):
            while not await echoes(fresh, address):
                await asyncio.sleep(0.1)
    assert {package: program.returncode for package, program in programs.items()} == {SERVER: None, AGENT: None}
    await asyncio.to_thread(programs[fault.package].wait_for, "RuntimeError: broken on purpose")
    assert "Unexpected error, the program goes on" in programs[fault.package].log

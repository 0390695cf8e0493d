"""Rolling migration in one running set-up: programs of the reference are replaced by ours one at a time, then back.

Owns the programs, a client that dials all the time, and sessions that stay open. All programs get arguments that the
reference knows, so a replacement is another executable with the same arguments.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

from migration_load import DIAL_S, ERRORS, RETURN_S, Failure, Session, Stop, http_get

from konnectivity.client import Mode, connect
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from support import targets
from support.balancer import Balancer
from support.targets import listening

OURS = "ours"
DIALLERS = 3  # tasks that dial all the time, one dial after another; few, so that a busy machine keeps up
PACE_S = 0.05  # seconds between two dials of a dialler
SETTLE_S = 0.5  # seconds of dials and sessions after each replacement
AGENTS = {"agent-1": "127.0.0.11", "agent-2": "127.0.0.12"}  # agent -> the address that its identifier names
ANY = "127.0.0.1"  # an address that no agent names: any agent may dial it


@dataclass(frozen=True)
class Plan:
    """Set-up of one migration: the version of the reference, the number of servers, the first kind, the clients."""

    version: str
    servers: int
    first: str  # "agents" or "servers"
    mode: Mode

    def __str__(self) -> str:
        return f"{self.version}-{self.servers} servers-{self.first} first-{self.mode}"


class Migration:
    """Set-up of a plan: servers, agents, the dialling client, and one session for each server and agent."""

    def __init__(self, plan: Plan, deployment: Deployment, reference) -> None:
        self.plan = plan
        self.deployment = deployment
        self.executables = dict(zip(("server", "agent"), reference(plan.version), strict=True))
        names = [f"server-{number}" for number in range(1, plan.servers + 1)]
        self.ports = {name: {use: free_port() for use in ("agent", "health", "admin")} for name in names}
        self.agent_health = {name: free_port() for name in AGENTS}
        self.agent_port = free_port() if plan.servers > 1 else self.ports["server-1"]["agent"]
        self.processes: dict[str, ProgramProcess] = {}
        self.program = dict.fromkeys((*names, *AGENTS), plan.version)
        self.sessions: dict[tuple[str, str], Session] = {}
        self.dials = 0
        self.failures: list[Failure] = []
        self.stops: list[Stop] = []
        self.back_s: list[tuple[str, float]] = []  # program of a new server, seconds until both agents were back
        self.metrics: dict[str, set[str]] = {}  # program of a server -> names of its metrics without labels
        self.readiness: list[str] = []  # answers of our servers to /readyz?verbose, with both kinds replaced
        self.server_logs: list[str] = []  # logs of our servers at the same time

    # ---- programs ------------------------------------------------------------------------------------------------

    def server_arguments(self, name: str) -> list[str]:
        """Return the arguments of a server, whichever program runs it."""
        ports, path = self.ports[name], self.deployment.path
        return [
            f"--mode={self.plan.mode}",
            f"--uds-name={path(name)}.sock",
            "--server-port=0",
            f"--server-count={self.plan.servers}",
            "--proxy-strategies=destHost,default",
            f"--agent-port={ports['agent']}",
            f"--health-port={ports['health']}",
            f"--admin-port={ports['admin']}",
            f"--cluster-ca-cert={path('ca.crt')}",
            f"--cluster-cert={path('server.crt')}",
            f"--cluster-key={path('server.key')}",
        ]

    def agent_arguments(self, name: str) -> list[str]:
        """Return the arguments of an agent, whichever program runs it."""
        return self.deployment.agent_arguments(
            f"--agent-id={name}",
            f"--agent-identifiers=ipv4={AGENTS[name]}",
            "--sync-interval-cap=500ms",
            "--probe-interval=100ms",
            port=self.agent_port,
            health_port=self.agent_health[name],
        )

    async def start(self, name: str, program: str) -> None:
        """Start a server or an agent and wait until both agents are connected to every server."""
        kind, _, _ = name.partition("-")
        arguments = self.server_arguments(name) if kind == "server" else self.agent_arguments(name)
        if program == OURS:
            process = self.deployment.start_package(f"konnectivity_{kind}", arguments)
        else:
            process = self.deployment.start_program(self.executables[kind], arguments)
        self.processes[name], self.program[name] = process, program
        started = time.monotonic()
        await asyncio.gather(*(self._agents_connected(server) for server in self.ports if server in self.processes))
        if kind == "server":
            self.back_s.append((program, time.monotonic() - started))

    async def _agents_connected(self, server: str) -> None:
        expected = sum(agent in self.processes for agent in AGENTS)
        async with asyncio.timeout(RETURN_S):
            while await self._ready_backends(server) != expected:
                await asyncio.sleep(0.05)

    async def _ready_backends(self, server: str) -> int:
        _, text = await http_get(self.ports[server]["admin"], "/metrics")
        found = re.search(r"^konnectivity_network_proxy_server_ready_backend_connections (\d+)", text, re.MULTILINE)
        names = re.findall(r"^(konnectivity_\w+) ", text, re.MULTILINE)
        self.metrics.setdefault(self.program[server], set()).update(names)
        return int(found[1]) if found else 0

    async def stop(self, name: str) -> None:
        """Stop a program as Kubernetes does: SIGTERM, and SIGKILL for a program of the reference that stays."""
        process, ours = self.processes.pop(name), self.program[name] == OURS
        told = time.monotonic()
        if ours:
            process.send(signal.SIGTERM)
            await self._drained(name, process)
        elif name in AGENTS:
            process.send(signal.SIGTERM)
            await asyncio.sleep(SETTLE_S)
            process.send(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        else:
            await asyncio.to_thread(process.stop)
        self.stops.append(Stop(name, ours or name in AGENTS, told, time.monotonic()))

    async def _drained(self, name: str, process: ProgramProcess) -> None:
        """Check that a draining program of ours keeps its sessions, and ends with exit code 0 once it is idle."""
        await asyncio.sleep(SETTLE_S)
        through = [each for key, each in self.sessions.items() if name in key]
        await self._advance(through)
        for session in through:
            session.closing.set()
        assert await asyncio.to_thread(process.wait) == 0, f"{name}: {process.log[-2000:]}"

    # ---- load ----------------------------------------------------------------------------------------------------

    def address(self, server: str) -> str:
        return f"unix:{self.deployment.path(server)}.sock"

    async def _dial_all_the_time(self, target: str, first: int) -> None:
        """Dial again and again, one dial at a time, each through another server than the last."""
        for turn in itertools.count(first):
            await self._dial(turn, target)
            await asyncio.sleep(PACE_S)

    async def _dial(self, turn: int, target: str) -> None:
        """Dial through a server whose /readyz answers 200, which is how a load balancer chooses a kube-apiserver."""
        began = time.monotonic()
        names = [*self.ports] if turn % 2 else [*reversed(self.ports)]
        for name in names:
            if (await http_get(self.ports[name]["health"], "/readyz"))[0] == 200:
                break
        else:
            return
        self.dials += 1
        try:
            async with asyncio.timeout(DIAL_S), connect(self.address(name), self.plan.mode) as tunnel:
                reader, writer = await tunnel.dial(target)
                with closing(writer):
                    writer.write(b"hello")
                    assert await reader.readexactly(5) == b"hello"
        except ERRORS as error:
            self.failures.append(Failure(began, time.monotonic(), name, repr(error)))

    def _open_sessions(self, tasks: asyncio.TaskGroup) -> None:
        """Open the sessions that are missing."""
        for server in self.ports:
            for agent, host in AGENTS.items():
                if (server, agent) not in self.sessions:
                    session = self.sessions[server, agent] = Session(server, agent)
                    port = self.target_ports[host]
                    tasks.create_task(session.run(self.address(server), self.plan.mode, f"{host}:{port}"))

    async def _advance(self, sessions: list[Session]) -> None:
        """Wait until each session has carried two more echoes."""
        before = [session.echoes for session in sessions]
        async with asyncio.timeout(RETURN_S):
            for session, count in zip(sessions, before, strict=True):
                while session.echoes < count + 2:
                    assert not session.error, f"the session through {session.server} and {session.agent}: {session}"
                    await asyncio.sleep(0.02)

    # ---- the migration -------------------------------------------------------------------------------------------

    async def replace(self, name: str, program: str, tasks: asyncio.TaskGroup) -> None:
        """Replace one program under load and check the sessions that do not go through it."""
        through = {key: each for key, each in self.sessions.items() if name in key}
        others = [each for key, each in self.sessions.items() if name not in key]
        await self.stop(name)
        await self._advance(others)
        await self.start(name, program)
        await self._advance(others)
        for key, session in through.items():
            session.closing.set()
            del self.sessions[key]
        self._open_sessions(tasks)
        await self._advance([*self.sessions.values()])
        await asyncio.sleep(SETTLE_S)

    async def _look(self) -> None:
        """Read the answers and logs that docs/start/migration.md names for the check after each step."""
        self.readiness = [(await http_get(ports["health"], "/readyz?verbose"))[1] for ports in self.ports.values()]
        self.server_logs = [self.processes[name].log for name in self.ports]

    async def run(self) -> None:
        """Migrate forward and back; afterwards the fields hold the counts, the failures and the times."""
        kinds = {"agents": [*AGENTS], "servers": [*self.ports]}
        first, second = self.plan.first, "servers" if self.plan.first == "agents" else "agents"
        order = kinds[first] + kinds[second]
        async with AsyncExitStack() as stack:
            if self.plan.servers > 1:
                ports = {name: each["agent"] for name, each in self.ports.items()}
                stack.enter_context(Balancer(self.deployment.directory, self.agent_port, ports))
            self.target_ports = {}
            for host in (*AGENTS.values(), ANY):
                address = await stack.enter_async_context(listening(targets.echo, host))
                self.target_ports[host] = int(address.rpartition(":")[2])
            for name in (*self.ports, *AGENTS):
                await self.start(name, self.plan.version)
            async with asyncio.TaskGroup() as tasks:
                target = f"{ANY}:{self.target_ports[ANY]}"
                load = [tasks.create_task(self._dial_all_the_time(target, first)) for first in range(DIALLERS)]
                self._open_sessions(tasks)
                await self._advance([*self.sessions.values()])
                for program, names in ((OURS, order), (self.plan.version, order[::-1])):
                    for name in names:
                        await self.replace(name, program, tasks)
                    if program == OURS:
                        await self._look()
                for task in load:
                    task.cancel()
                for session in self.sessions.values():
                    session.closing.set()

    def unexpected_failures(self) -> list[Failure]:
        """Return the failures of dials that were not in flight when a program was cut."""
        return [each for each in self.failures if not any(stop.cut(each) for stop in self.stops)]

"""World of one run: its machines and programs, its conversations, and what can be done to them."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from pathlib import Path
from typing import Any

from konnectivity.client import ClientTunnel, ConnectTunnel, GrpcTunnel
from konnectivity.client.frontend_address import FrontendAddress
from simulation import tenant_files
from simulation.api_server import PORT, SimulatedApi
from simulation.clients import client_program
from simulation.conversations import Conversation, Script
from simulation.descriptors import KERNEL
from simulation.machine import MACHINE
from simulation.network import Network
from simulation.processes import SimulatedProcess
from simulation.programs import FRONTEND_PORT, KUBECONFIG, AgentPlan, Programs, ServerPlan, forget_former_runs
from simulation.targets import target_machine
from simulation.trace import Trace
from simulation.virtual_loop import VirtualLoop
from support.kubeconfig_file import kubeconfig

TARGET_HOST = "10.4.0.1"
API_HOST = "10.5.0.1"
FIRST_PORT = 20_000
DIAL_DEADLINE_S = 60.0
FRONTENDS = ("connect unix", "grpc unix", "connect tls", "grpc tls")
_TLS = ssl.create_default_context()


class _TraceHandler(logging.Handler):
    """Log of the product, which becomes part of the trace."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("konnectivity_server", "konnectivity_agent", "konnectivity.tunnel")):
            fields = getattr(record, "fields", {})
            words = " ".join(f"{name}={value}" for name, value in fields.items() if name != "trace")
            self._world.trace.note(self._world.loop.current.name, "log:", record.getMessage(), words)
        if record.levelno >= logging.ERROR and record.name.endswith("task_guard"):
            trace = str(getattr(record, "fields", {}).get("trace", ""))
            self._world.violations.append(f"unexpected error in {self._world.loop.current.name}: {trace[-1500:]}")


class Disturbances:
    """Programs, lines and tenants that a fault has touched."""

    def __init__(self) -> None:
        self.programs: set[str] = set()
        self.lines: set[frozenset[str]] = set()
        self.tenants: set[str] = set()

    def program(self, name: str) -> None:
        """Record a fault of a program."""
        self.programs.add(name)

    def line(self, a: str, b: str) -> None:
        """Record a fault of the line between two machines."""
        self.lines.add(frozenset((a, b)))


class World:
    """All programs of one run."""

    def __init__(self, seed: str, programs: Programs) -> None:
        MACHINE.reset(f"{seed} machine")
        forget_former_runs()
        self.trace = Trace()
        self.loop = VirtualLoop(seed, self.trace)
        self.network = self.loop.network = Network(seed, self.loop, self.trace)
        KERNEL.loop, KERNEL.network = self.loop, self.network
        MACHINE.start_thread = lambda work: self.loop.call_soon(work)
        self.programs = programs
        self.processes: dict[str, SimulatedProcess] = {}
        self.conversations: list[Conversation] = []
        self.violations: list[str] = []
        self.disturbances = Disturbances()
        self.api = SimulatedApi()
        self._orders: dict[str, asyncio.Queue[Any]] = {}
        self._tunnels: dict[tuple[str, str, str], ClientTunnel] = {}
        self._changes = 0  # of the files of tenants
        self._log = _TraceHandler(self)
        root = logging.getLogger()
        root.handlers[:] = [self._log]
        root.setLevel(logging.INFO)

    def begin(self) -> None:
        """Start every program."""
        self._listens: asyncio.Queue[Conversation] = asyncio.Queue()
        if self.programs.leases:
            server = {"server": f"http://{API_HOST}:{PORT}"}
            Path(KUBECONFIG).write_text(kubeconfig(server, {"token": "simulated"}))
            self.start_api()
        for tenant in self.programs.tenants:
            self.declare_tenant(tenant)
        self._start("targets", TARGET_HOST, lambda: target_machine(self._listens))
        for server in self.programs.servers:
            self.start_server(server)
        for agent in self.programs.agents:
            self.start_agent(agent)
        for server in self.programs.servers:
            self.start_client(server.name, server.host)

    def _start(self, name: str, host: str, main: Any) -> SimulatedProcess:
        self.trace.note(name, "started")
        process = self.processes[name] = SimulatedProcess(name, host)
        self.loop.start(process, main)
        return process

    def start_api(self) -> None:
        self._start("api", API_HOST, self.api.main)

    def start_server(self, plan: ServerPlan) -> None:
        self._start(plan.name, plan.host, self.programs.server(plan))

    def start_agent(self, plan: AgentPlan) -> None:
        self._start(plan.name, plan.host, self.programs.agent(plan))

    def start_client(self, server: str, host: str) -> None:
        """Start the two clients of a server: one on its machine, and one on a machine of its own."""
        for kind, own_host in (("unix", host), ("tls", host.replace("10.1.", "10.3."))):
            name = f"client-{server}-{kind}"
            orders: asyncio.Queue[Any] = asyncio.Queue()
            self._orders[name] = orders
            self._start(name, own_host, lambda orders=orders: client_program(orders, self.trace))

    def tenant(self, number: int | None) -> str:
        """Return the name of a tenant; empty where each server serves one cluster."""
        return self.programs.tenants[number or 0] if self.programs.tenants else ""

    def declare_tenant(self, tenant: str) -> None:
        """Write the files of a tenant on every server, with options that it did not have before."""
        self._changes += 1
        for server in self.programs.servers:
            tenant_files.write(server.name, server.host, tenant, server.socket(tenant), self._changes)

    def remove_tenant(self, tenant: str) -> None:
        """Remove the files of a tenant from every server, unless that has happened already."""
        for server in self.programs.servers:
            tenant_files.remove(server.name, tenant)

    def agents_of(self, tenant: str) -> list[AgentPlan]:
        """Return the agents of a tenant."""
        return [each for each in self.programs.agents if each.tenant == tenant]

    def restart(self, name: str) -> None:
        """Start a program that has ended."""
        if name == "api":
            self.start_api()
        for server in self.programs.servers:
            if server.name == name and self.processes[name].dead:
                self.start_server(server)
        for agent in self.programs.agents:
            if agent.name == name and self.processes[name].dead:
                self.start_agent(agent)

    def forgive_ends(self, name: str) -> None:
        """Judge no clean end of a conversation on whose way is a program that is killed: the kernel ends its sockets.

        A server may pass the dials of its peers on. A dial that has no answer, or that its target has not accepted yet,
        may be at any agent.
        """
        if name == "api":
            return
        host = self.processes[name].host
        relays = self.programs.peers and any(each.name == name for each in self.programs.servers)
        for each in self.conversations:
            hosts = {side.dialed_from for side in each.targets if side.dialed_from}
            unknown = not hosts or each.outcome != "connected"
            if not each.over and (relays or each.server == name or host in hosts or unknown):
                each.exact = False

    def terminate(self, name: str) -> None:
        """Send SIGTERM."""
        self.loop.signal(self.processes[name], signal.SIGTERM)

    def converse(self, server: str, frontend: str, script: Script, tenant: str = "") -> Conversation:
        """Let a client of a tenant begin a conversation through a server."""
        number = len(self.conversations)
        conversation = Conversation(
            number,
            script,
            frontend,
            server,
            f"{TARGET_HOST}:{FIRST_PORT + number}",
            MACHINE.now,
            DIAL_DEADLINE_S,
            self.programs.exact,
            tenant=tenant,
            violations=self.violations,
        )
        self.conversations.append(conversation)
        self._put("targets", self._listens, conversation)
        name = f"client-{server}-{frontend.partition(' ')[2]}"
        self.trace.note(f"client {number}", f"dials {conversation.address} through {server}, {frontend}: {script}")
        self._put(name, self._orders[name], (conversation, self._tunnel(server, frontend, tenant)))
        return conversation

    def _put(self, name: str, queue: asyncio.Queue[Any], item: Any) -> None:
        self.loop.call_in(self.processes[name], queue.put_nowait, item)

    def _tunnel(self, server: str, frontend: str, tenant: str) -> ClientTunnel:
        """Return the tunnel that the conversations of one frontend share."""
        mode, _, kind = frontend.partition(" ")
        key = (server, frontend, tenant)
        if key not in self._tunnels:
            plan = next(each for each in self.programs.servers if each.name == server)
            address = (
                FrontendAddress(f"unix:{plan.socket(tenant)}", None, None)
                if kind == "unix"
                else FrontendAddress(f"{plan.host}:{FRONTEND_PORT}", _TLS, tenant_files.host_name(tenant, plan.host))
            )
            self._tunnels[key] = ConnectTunnel(address) if mode == "connect" else GrpcTunnel(address)
        return self._tunnels[key]

    def run_until(self, moment: float) -> None:
        """Let time pass."""
        self.loop.run_until(moment)

    def end(self) -> None:
        """Stop everything at once; nothing of the run acts any more."""
        self.loop.over = True
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        logging.getLogger().handlers[:] = [logging.NullHandler()]

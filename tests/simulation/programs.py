"""Programs of a simulation: the real server and agent with their options, and what a run can see of them.

Imports the product, so the machine must have been replaced before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.options import parse
from konnectivity_agent import agent_app
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server import server_app
from konnectivity_server.server_options import ServerOptions
from simulation import tenant_files
from simulation.descriptors import KERNEL
from simulation.pki_files import pki_files

AGENT_PORT = 8091
FRONTEND_PORT = 8090
PEER_PORT = 8133
DRAIN_S = 5
IDLE_S = 30  # a connection that only one end knows is closed within this time
REFERENCE = "--konnectivity-extension=false"
KUBECONFIG = "kubeconfig.json"  # in the directory of the run


class _SeenServer(server_app.ProxyServer):
    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        KERNEL.loop.current.product = self


class _SeenAgent(agent_app.ProxyAgent):
    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        KERNEL.loop.current.product = self


server_app.ProxyServer = _SeenServer  # type: ignore[misc]
agent_app.ProxyAgent = _SeenAgent  # type: ignore[misc]


@dataclass(frozen=True)
class ServerPlan:
    """Options of one server that differ between plans."""

    name: str
    host: str
    flags: tuple[str, ...] = ()

    def socket(self, tenant: str = "") -> str:
        """Return the path of the frontends' unix socket, of all or of one tenant."""
        return str(Path(f"{self.name}-{tenant}.sock").absolute()) if tenant else f"{self.name}.sock"


@dataclass(frozen=True)
class AgentPlan:
    """Options of one agent that differ between plans."""

    name: str
    host: str
    flags: tuple[str, ...] = ()
    tenant: str = ""
    agent_id: str = ""  # agents of different tenants may have one ID


@dataclass(frozen=True)
class Programs:
    """Servers and agents of one plan.

    Attributes:
        servers: servers of the plan.
        agents: agents of the plan.
        peers: whether the servers know each other.
        leases: whether servers publish leases, which agents count.
        tenants: tenants of the servers; empty: each server serves one cluster.

    """

    servers: tuple[ServerPlan, ...]
    agents: tuple[AgentPlan, ...]
    peers: bool = False
    leases: bool = False
    tenants: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Return whether every program speaks the extension."""
        return not any(REFERENCE in each.flags for each in (*self.servers, *self.agents))

    def server(self, plan: ServerPlan) -> Callable[[], Coroutine[Any, Any, int]]:
        """Return the main function of a server."""
        ca, cert, key = pki_files()
        argv = [
            "--mode=grpc,http-connect",
            f"--server-port={FRONTEND_PORT}",
            f"--server-cert={cert}",
            f"--server-key={key}",
            f"--agent-port={AGENT_PORT}",
            f"--cluster-cert={cert}",
            f"--cluster-key={key}",
            f"--server-id={plan.name}",
            f"--server-count={len(self.servers)}",
            f"--graceful-shutdown-timeout={DRAIN_S}s",
            f"--idle-connection-timeout={IDLE_S}s",
            *plan.flags,
        ]
        if self.tenants:
            argv.append(f"--tenants={tenant_files.directory_of(plan.name)}")
        else:
            argv += [f"--uds-name={plan.socket()}", f"--server-ca-cert={ca}", f"--cluster-ca-cert={ca}"]
        if self.leases:
            argv += ["--enable-lease-controller", f"--kubeconfig={KUBECONFIG}"]
        if self.peers:
            others = ",".join(each.host for each in self.servers if each is not plan)
            argv += [f"--peer-port={PEER_PORT}", f"--peer-cert={cert}", f"--peer-key={key}", f"--peer-ca-cert={ca}"]
            argv += [f"--peers={others}"] if others else []
        options = parse(ServerOptions, argv, {}, "proxy-server")
        return functools.partial(server_app.run, options, plan.name)

    def agent(self, plan: AgentPlan) -> Callable[[], Coroutine[Any, Any, int]]:
        """Return the main function of an agent."""
        ca, cert, key = pki_files()
        hosts = ",".join(f"{tenant_files.host_name(plan.tenant, each.host)}:{AGENT_PORT}" for each in self.servers)
        argv = [
            f"--proxy-server-host={hosts}",
            f"--ca-cert={ca}",
            f"--agent-cert={cert}",
            f"--agent-key={key}",
            f"--agent-id={plan.agent_id or plan.name}",
            f"--drain-timeout={DRAIN_S}s",
            *plan.flags,
        ]
        if self.leases:
            argv += ["--count-server-leases", f"--kubeconfig={KUBECONFIG}"]
        options = parse(AgentOptions, argv, {}, "proxy-agent")
        return functools.partial(agent_app.run, options, plan.agent_id or plan.name)


def forget_former_runs() -> None:
    """Clear what the product remembers for the life of a process: a process runs many simulations."""
    for rate in logs._line_rates:
        rate.__init__(rate._clock)  # type: ignore[misc]
    for each in (task_guard.counts, task_guard._logged_at, task_guard._left_out):
        each.clear()

"""Programs of the reference, named by two environment variables and started on our files."""

from __future__ import annotations

import os
from pathlib import Path

from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port

VARIABLES = ("KONNECTIVITY_REFERENCE_SERVER", "KONNECTIVITY_REFERENCE_AGENT")
MISSING = f"not run: reference (set {' and '.join(VARIABLES)})"


def programs() -> tuple[str, str] | None:
    """Return the paths of server and agent."""
    server, agent = (os.environ.get(name, "") for name in VARIABLES)
    return (server, agent) if server and agent else None


def start_server(deployment: Deployment) -> ProgramProcess:
    """Start the server with the frontend of the benchmarks: HTTP CONNECT on the deployment's socket."""
    found = programs()
    assert found is not None, MISSING
    flags = [
        "-v=0",
        "--mode=http-connect",
        f"--uds-name={deployment.socket}",
        "--server-port=0",
        f"--agent-port={deployment.agent_port}",
        f"--cluster-ca-cert={deployment.path('ca.crt')}",
        f"--cluster-cert={deployment.path('server.crt')}",
        f"--cluster-key={deployment.path('server.key')}",
        f"--admin-port={deployment.admin_port}",
        f"--health-port={deployment.health_port}",
    ]
    return deployment.start_program(Path(found[0]), flags)


def start_agent(deployment: Deployment, *more: str) -> ProgramProcess:
    found = programs()
    assert found is not None, MISSING
    health_port = free_port()
    arguments = deployment.agent_arguments(health_port=health_port)
    agent = deployment.start_program(Path(found[1]), ["-v=0", *arguments, *more])
    agent.health_port = health_port
    return agent

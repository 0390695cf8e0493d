"""Programs of the reference, started on our files: named by two variables, else built by its script."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port

VARIABLES = ("KONNECTIVITY_REFERENCE_SERVER", "KONNECTIVITY_REFERENCE_AGENT")
BUILT = Path(__file__).resolve().parent.parent / ".cache" / "bin" / "reference-4f8517c1"
MISSING = "not run: reference (`REFERENCE_SOURCES=... sh tests/interop/reference.sh` builds it)"


def named() -> tuple[str, str] | None:
    """Return the paths of server and agent that the two variables name."""
    server, agent = (os.environ.get(name, "") for name in VARIABLES)
    return (server, agent) if server and agent else None


def programs() -> tuple[str, str] | None:
    """Return the paths of server and agent, or None if there are none."""
    built = (str(BUILT / "proxy-server"), str(BUILT / "proxy-agent"))
    return named() or (built if all(map(os.path.exists, built)) else None)


def frontend_flags(deployment: Deployment, frontend: str) -> Sequence[str]:
    """Return the server's flags for one frontend: "connect" or "grpc" on the unix socket, or "connect-tls" on TCP."""
    if frontend == "connect-tls":
        files = {"ca-cert": "ca.crt", "cert": "server.crt", "key": "server.key"}
        tls = (f"--server-{flag}={deployment.path(file)}" for flag, file in files.items())
        return ("--mode=http-connect", f"--server-port={deployment.server_port}", *tls)
    mode = "grpc" if frontend == "grpc" else "http-connect"
    return (f"--mode={mode}", f"--uds-name={deployment.socket}", "--server-port=0")


def start_server(deployment: Deployment, frontend: str = "connect") -> ProgramProcess:
    """Start a server with one frontend, as the reference has it."""
    found = programs()
    assert found is not None, MISSING
    flags = [
        "-v=0",
        *frontend_flags(deployment, frontend),
        f"--agent-port={deployment.agent_port}",
        f"--cluster-ca-cert={deployment.path('ca.crt')}",
        f"--cluster-cert={deployment.path('server.crt')}",
        f"--cluster-key={deployment.path('server.key')}",
        f"--admin-port={deployment.admin_port}",
        f"--health-port={deployment.health_port}",
    ]
    return deployment.start_program(Path(found[0]), flags)


def start_agent(deployment: Deployment, *more: str, port: int = 0) -> ProgramProcess:
    """Start an agent of the deployment's server, or of what listens on `port`."""
    found = programs()
    assert found is not None, MISSING
    health_port = free_port()
    arguments = deployment.agent_arguments(health_port=health_port)
    if port:
        more = (*more, f"--proxy-server-port={port}")
    agent = deployment.start_program(Path(found[1]), ["-v=0", *arguments, *more])
    agent.health_port = health_port
    return agent

"""`konnectivity forward` as a process beside a deployment, for tests."""

from __future__ import annotations

from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port


class ForwardProcess:
    """Running forward proxy; the deployment stops it.

    Args:
        deployment: whose server it uses, unless `more` names others.
        more: further arguments.
        frontend: "unix" or "tcp".
        mode: protocol of the frontend.
    """

    def __init__(
        self,
        deployment: Deployment,
        *more: str,
        frontend: str = "unix",
        mode: str = "http-connect",
        own_server: bool = True,
    ) -> None:
        self.port, self.health_port = free_port(), free_port()
        server = f"unix:{deployment.socket}" if frontend == "unix" else f"127.0.0.1:{deployment.server_port}"
        files = {"ca-cert": "ca.crt", "cert": "client.crt", "key": "client.key"}
        arguments = [f"--{name}={deployment.path(file)}" for name, file in files.items()]
        arguments += [f"--server={server}"] if own_server else []
        arguments += [f"--mode={mode}", f"--port={self.port}", f"--health-port={self.health_port}", *more]
        self.process: ProgramProcess = deployment.start_package("forward", arguments)
        self.process.wait_for("Forward proxy started")

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

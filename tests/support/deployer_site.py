"""Directory in place of a host's root, in which our programs run on loopback with the argument lists of deployers.

Directories, ports and host names in the lists are replaced. Only ports that a list leaves to their defaults are added.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from konnectivity.client import Mode
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from support.kubernetes_api import KubernetesApi

WELL_TIMEOUT_S = 20.0
HOSTS = {"172.30.0.1": "127.0.0.1"}  # address of a target that an agent replaces


class Site:
    """Directory of a deployer's host, with its ports and the programs that run there."""

    def __init__(self, directory: Path, api: KubernetesApi) -> None:
        self.api = api
        self.deployment = Deployment(directory)  # certificates, ports, processes
        self.socket = ""
        self.modes: list[str] = []
        self.server_ports = {
            "--agent-port": self.deployment.agent_port,
            "--health-port": self.deployment.health_port,
            "--admin-port": self.deployment.admin_port,
            "--server-port": self.deployment.server_port,
        }

    def server(self, words: Sequence[str]) -> ProgramProcess:
        """Start a server and return it when it runs."""
        argv = self._replaced(words, self.server_ports)
        self.socket = next((each.partition("=")[2] for each in argv if each.startswith("--uds-name=")), "")
        modes = [each.partition("=")[2] for each in argv if each.startswith("--mode=")]
        self.modes = modes[-1].split(",") if modes else ["grpc"]
        process = self.deployment.start_package("konnectivity_server", argv)
        self._until_well(process, self.deployment.health_port, "/healthz")
        return process

    def agent(self, words: Sequence[str]) -> ProgramProcess:
        """Start an agent and return it when it is connected."""
        health = free_port()
        ports = {
            "--proxy-server-port": self.deployment.agent_port,
            "--health-server-port": health,
            "--admin-server-port": free_port(),
        }
        process = self.deployment.start_package("konnectivity_agent", self._replaced(words, ports))
        process.health_port = health
        self._until_well(process, health, "/readyz")
        return process

    def frontend(self) -> dict[str, object]:
        """Return the arguments of `konnectivity.client.connect` with which kube-apiserver would connect."""
        mode: Mode = "http-connect" if self.modes[0] == "http-connect" else "grpc"
        if self.socket:
            return {"address": f"unix:{self.socket}", "mode": mode}
        return self.deployment.frontend(mode, unix=False)

    def _until_well(self, process: ProgramProcess, port: int, path: str) -> None:
        """Poll the health port as kubelet does, until it reports success."""
        end = time.monotonic() + WELL_TIMEOUT_S
        while (answer := get(port, path)) != (200, "ok"):
            if process.returncode is not None or time.monotonic() > end:
                raise RuntimeError(f"{path} says {answer}\n{process.log}")
            time.sleep(0.02)

    def _replaced(self, words: Sequence[str], ports: Mapping[str, int]) -> list[str]:
        argv, flag = [], ""
        for word in words:
            name, equals, value = word.partition("=") if word.startswith("-") else (flag, "", word)
            value = self._value(name, value, ports)
            argv.append(f"{name}={value}" if equals else value if name is flag else word)
            flag = name if word.startswith("--") and not equals else ""
        return argv + [
            f"{name}={port}" for name, port in ports.items() if not any(each.startswith(name) for each in argv)
        ]

    def _value(self, name: str, value: str, ports: Mapping[str, int]) -> str:
        if value.startswith("/"):
            return str(self._file(name, self.deployment.directory / value.lstrip("/")))
        if name in ports and value != "0":
            return str(ports[name])
        if name == "--proxy-server-host":
            return "localhost"
        for host, other in HOSTS.items():
            value = value.replace(host, other)
        return value

    def _file(self, name: str, path: Path) -> Path:
        """Write the file that a flag names."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source = {"cert": "server.crt", "key": "server.key"}.get(name.rpartition("-")[2], "")
        if name.startswith("--agent-"):
            source = source.replace("server", "client")
        if name.endswith("ca-cert"):
            source = "ca.crt"
        if source:
            path.write_bytes(Path(self.deployment.path(source)).read_bytes())
        elif name == "--kubeconfig":
            self.api.kubeconfig(path)
        elif name == "--service-account-token-path":
            path.write_text("good\n")
        elif name == "--uds-name":
            with socket.socket(socket.AF_UNIX) as left_behind:  # socket left behind by a server that was killed
                left_behind.bind(str(path))
        return path


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a probe's request; (0, reason) if there is no answer."""
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def dials(agent: ProgramProcess) -> int:
    """Return the number of connections that an agent has opened."""
    lines = get(agent.health_port, "/metrics")[1].splitlines()
    return next(int(line.split()[1]) for line in lines if "agent_dial_duration_seconds_count" in line)

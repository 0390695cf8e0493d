"""Throwaway deployment on loopback: certificates, and the real `proxy-server` and `proxy-agent` as processes.

Used by the demo, the tests and the benchmarks. Owns the files of its directory and the processes that it started.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from konnectivity.client import Mode, tls_context
from konnectivity.runtime import launcher
from konnectivity.tool.pki.authority import Authority

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0


def free_port() -> int:
    """Return a free TCP port on loopback, below the range from which the kernel assigns ports."""
    for _ in range(10_000):
        port = random.randrange(20_000, 32_000)  # other programs look for free ports at the same time
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in _handed_out:
                _handed_out.add(port)
                return port
    raise RuntimeError("no free port")


_handed_out: set[int] = set()


class ConnectArguments(TypedDict):
    """Arguments of `konnectivity.client.connect`."""

    address: str
    mode: Mode
    tls: NotRequired[ssl.SSLContext]


class ProgramProcess:
    """Process of one program, whose log goes to a file.

    Args:
        module: Python package of a program of this project, or the path of any other program.
        arguments: of the program.
        log: file for its stdout and stderr.
        cgroup: directory of the cgroup that it runs in; None: that of the caller.
        within: command that replaces itself with the program, as `env` does.

    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log: Path,
        cgroup: Path | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.log_path = log
        self.health_port = self.admin_port = 0  # an agent's, set by the deployment
        # a path is a program, anything else one of our packages: konnectivity_server is proxy-server
        command = [module] if "/" in module else launcher.command(module.replace("konnectivity_", "proxy-"))
        if cgroup is not None:  # the process is in the cgroup from its first instruction
            command = ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs && exec "$@"', "sh", *command]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KONNECTIVITY_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*within, *command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    @property
    def log(self) -> str:
        """Log up to now. A program may write a line a little later than it acts: use `wait_for` to wait for a line."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text: str, times: int = 1, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the log has `text` at least `times` times.

        Raises:
            RuntimeError: the program ended, or `timeout_s` passed; the text has the end of the log.

        """
        end = time.monotonic() + timeout_s
        while self.log.count(text) < times:
            if self._process.poll() is not None or time.monotonic() > end:
                state = "ended" if self._process.poll() is not None else "runs"
                raise RuntimeError(f"no {text!r} in the log of process {self.pid} ({state}):\n{self.log[-3000:]}")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the end of the process and return its exit code."""
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """End the process and return its exit code: SIGTERM to drain, SIGTERM again to end at once, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self.send(signal.SIGCONT)
            self.send(number)
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(0.2 if number is signal.SIGTERM else STOP_TIMEOUT_S)
        return self._process.wait(STOP_TIMEOUT_S)

    def memory_bytes(self, name: str = "VmRSS") -> int:
        """Return the resident memory in bytes: now (`VmRSS`) or the peak (`VmHWM`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} has no {name}")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Deployment:
    """Deployment of one server with all four frontends, and any number of agents."""

    directory: Path
    agent_port: int = field(default_factory=free_port)
    server_port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    kubeconfig: Path | None = None
    processes: list[ProgramProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority.create("konnectivity throwaway CA")
        self.authority.write(self.directory)
        self.certify()

    def certify(self, authority: Authority | None = None, **how: Any) -> None:
        """Write the certificates of server and client; `how` is passed to `Authority.issue`."""
        issue = (authority or self.authority).issue
        issue("proxy-server", dns=("localhost",), ips=("127.0.0.1",), server=True, **how).write(
            self.directory, "server"
        )
        issue("client", client=True, **how).write(self.directory, "client")

    def path(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def socket(self) -> str:
        return self.path("frontend.sock")

    def server_arguments(self, *more: str) -> list[str]:
        return [
            "--mode=grpc,http-connect",
            f"--uds-name={self.socket}",
            "--server-bind-address=127.0.0.1",
            f"--server-port={self.server_port}",
            f"--server-cert={self.path('server.crt')}",
            f"--server-key={self.path('server.key')}",
            f"--server-ca-cert={self.path('ca.crt')}",
            "--agent-bind-address=127.0.0.1",
            f"--agent-port={self.agent_port}",
            f"--cluster-cert={self.path('server.crt')}",
            f"--cluster-key={self.path('server.key')}",
            f"--cluster-ca-cert={self.path('ca.crt')}",
            "--health-bind-address=127.0.0.1",
            f"--health-port={self.health_port}",
            f"--admin-port={self.admin_port}",
            *more,
        ]

    def agent_arguments(
        self, *more: str, port: int | None = None, health_port: int = 0, admin_port: int = 0
    ) -> list[str]:
        return [
            "--proxy-server-host=127.0.0.1",
            f"--proxy-server-port={port or self.agent_port}",
            f"--ca-cert={self.path('ca.crt')}",
            f"--agent-cert={self.path('client.crt')}",
            f"--agent-key={self.path('client.key')}",
            "--sync-interval=100ms",
            "--health-server-host=127.0.0.1",
            f"--health-server-port={health_port or free_port()}",
            f"--admin-server-port={admin_port or free_port()}",
            *more,
        ]

    def start_server(self, *more: str, within: Sequence[str] = ()) -> ProgramProcess:
        name = f"server-{len(self.processes)}.log"
        server = self._start("konnectivity_server", self.server_arguments(*more), name, within=within)
        server.wait_for("Proxy server started")
        return server

    def start_agent(
        self,
        *more: str,
        port: int | None = None,
        cgroup: Path | None = None,
        within: Sequence[str] = (),
        connects: bool = True,
    ) -> ProgramProcess:
        """Start an agent and wait until it is connected or, without `connects`, until it has started."""
        health_port, admin_port = free_port(), free_port()
        arguments = self.agent_arguments(*more, port=port, health_port=health_port, admin_port=admin_port)
        agent = self._start("konnectivity_agent", arguments, f"agent-{len(self.processes)}.log", cgroup, within)
        agent.health_port, agent.admin_port = health_port, admin_port
        agent.wait_for("Connected to server" if connects else "Proxy agent started")
        return agent

    def start_package(self, package: str, arguments: Sequence[str], within: Sequence[str] = ()) -> ProgramProcess:
        """Start a program of this project with exactly these arguments, and do not wait for it."""
        return self._start(package, list(arguments), f"{package}-{len(self.processes)}.log", within=within)

    def start_program(self, path: Path, arguments: Sequence[str]) -> ProgramProcess:
        """Start another program, which is logged and stopped like those of this project."""
        return self._start(str(path), list(arguments), f"{path.name}-{len(self.processes)}.log")

    def frontend(self, mode: Mode, unix: bool) -> ConnectArguments:
        """Return the arguments of `konnectivity.client.connect` for one of the four frontends."""
        if unix:
            return {"address": f"unix:{self.socket}", "mode": mode}
        tls = tls_context(self.path("ca.crt"), self.path("client.crt"), self.path("client.key"), mode)
        return {"address": f"127.0.0.1:{self.server_port}", "mode": mode, "tls": tls}

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()

    def _start(
        self, module: str, arguments: list[str], log: str, cgroup: Path | None = None, within: Sequence[str] = ()
    ) -> ProgramProcess:
        process = ProgramProcess(module, arguments, self.directory / log, cgroup, within)
        self.processes.append(process)
        return process

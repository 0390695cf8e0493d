"""Sides of a benchmark: ways from the load generator to the targets, and the processes on them.

Owns start and stop of the processes. Does not know the scenarios.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import builds, reference
from konnectivity.testing.deployment import Deployment, free_port
from support.balancer import HAPROXY, MISSING
from support.delayed_line import DelayedLine

DELAYS_MS = (0, 20, 50, 100)  # of a line between agent and server; 0 shows what the line itself costs
PROGRAMS = {
    "native": (),
    "grpcio": ("--grpc-implementation=grpcio",),
    "2 workers": ("--workers=2",),
}
FORWARD = {  # side -> protocol of its clients, and whether the forward proxy is in the server
    "native, sidecar SOCKS5": ("socks5", False),
    "native, sidecar CONNECT": ("connect", False),
    "native, inside SOCKS5": ("socks5", True),
}
MICROSOCKS = shutil.which("microsocks")
REFERENCES = {  # a server of the reference has one frontend, so each kind is a side of its own
    "reference": "connect",
    "reference, TLS": "connect-tls",
    "reference, gRPC": "grpc",
}


@dataclass
class Side:
    """Way to the targets.

    Args:
        to: as `load --to` takes it: `direct`, `unix:/path`, `grpc:/path`, `tls:PORT:DIRECTORY`.
        pids: of server and agent (or what stands in their places), for CPU and memory.
        ports: where the targets are for the generator, if not at their own ports.

    """

    name: str
    to: str
    pids: list[int] = field(default_factory=list)
    ports: Mapping[str, int] = field(default_factory=dict)
    restart: Callable[[], None] | None = None  # a killed agent
    tls: str = ""  # `to` of its TLS frontend

    def cpu_s(self) -> list[float]:
        return [sum(map(cpu_s, family(pid))) for pid in self.pids]

    def peak_mib(self) -> list[float]:
        return [round(sum(map(_peak_mib, family(pid))), 1) for pid in self.pids]

    def memory_kib(self) -> list[float]:
        return [sum(map(_memory_kib, family(pid))) for pid in self.pids]

    def private_kib(self) -> list[float]:
        return [sum(rollup_kib(each, "Anonymous") for each in family(pid)) for pid in self.pids]


def family(pid: int) -> list[int]:
    """Return a process and its children, such as a server's workers."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *map(int, children)]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_kib(pid: int, name: str) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])


def rollup_kib(pid: int, name: str) -> float:
    """Return one sum over all mappings of a process: `Anonymous`, `Pss`, `Private_Dirty`."""
    return int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition(f"\n{name}:")[2].split()[0])


def _peak_mib(pid: int) -> float:
    return _status_kib(pid, "VmHWM") / 1024


def _memory_kib(pid: int) -> float:
    return _status_kib(pid, "VmRSS")


@contextlib.contextmanager
def all_sides(directory: Path, ports: dict[str, int], wanted: set[str], missing: list[str]) -> Iterator[list[Side]]:
    """Start every wanted side, and stop all at the end. `missing` names the sides that cannot be started."""
    with contextlib.ExitStack() as stack:
        sides = [Side("direct", "direct")]
        for name, more in PROGRAMS.items():
            if name in wanted:
                sides.append(our_side(stack, directory / name.replace(" ", "-"), name, *more))
        if "compiled" in wanted:
            sides += _compiled(stack, directory / "compiled", missing)
        for delay in DELAYS_MS:
            sides += [
                _delayed(stack, directory / f"{name}-{delay}", name, delay, *PROGRAMS[name])
                for name in ("native", "grpcio")
                if f"{name}, {delay} ms" in wanted
            ]
            if f"direct, {delay} ms" in wanted:
                lines = {
                    target: stack.enter_context(DelayedLine(("127.0.0.1", ports[target]), delay / 1000)).port
                    for target in ("source", "sink")
                }
                sides.append(Side(f"direct, {delay} ms", "direct", ports=lines))
        if HAPROXY is None:
            missing.append(f"haproxy: {MISSING}")
        elif "haproxy" in wanted:
            sides.append(haproxy_side(stack, directory / "haproxy", ports))
        if MICROSOCKS is None:
            missing.append("microsocks: install the package microsocks")
        elif "microsocks" in wanted:
            sides.append(_microsocks(stack))
        sides += [_forward(stack, directory / name.replace(", ", "-"), name) for name in FORWARD if name in wanted]
        if reference.programs():
            sides += [
                _reference(stack, directory / name.replace(", ", "-"), name, frontend)
                for name, frontend in REFERENCES.items()
                if name in wanted
            ]
            sides += [
                _reference(stack, directory / f"reference-{delay}", f"reference, {delay} ms", "connect", delay)
                for delay in DELAYS_MS
                if f"reference, {delay} ms" in wanted
            ]
        else:
            missing.append(reference.MISSING)
        yield sides


def _microsocks(stack: contextlib.ExitStack) -> Side:
    """Start a plain SOCKS5 server, without a tunnel behind it."""
    assert MICROSOCKS is not None
    port = free_port()
    process = subprocess.Popen(
        [MICROSOCKS, "-i", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return Side("microsocks", f"socks5:{port}", [process.pid])


def _forward(stack: contextlib.ExitStack, directory: Path, name: str) -> Side:
    """Start our server and agent with a forward proxy, a sidecar or inside the server."""
    protocol, inside = FORWARD[name]
    deployment, port = Deployment(directory), free_port()
    stack.callback(deployment.stop)
    more = [f"--forward-port={port}"] if inside else []
    server = deployment.start_package(
        "konnectivity_server", deployment.server_arguments("-v=0", "--mode=grpc,http-connect", *more)
    )
    agent = deployment.start_package("konnectivity_agent", deployment.agent_arguments("-v=0"))
    _until_ready(deployment.health_port)
    pids = [server.pid, agent.pid]
    if not inside:
        sidecar = deployment.start_package("forward", [f"--server=unix:{deployment.socket}", f"--port={port}", "--v=0"])
        sidecar.wait_for("Forward proxy started")
        pids.append(sidecar.pid)
    return Side(name, f"{protocol}:{port}", pids)


def our_side(stack: contextlib.ExitStack, directory: Path, name: str, *more: str, within: Sequence[str] = ()) -> Side:
    """Start our server and agent; `within` is a command that becomes each of them (`env` selects another checkout)."""
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    workers = "--workers=2" in more
    modes = "--mode=http-connect" if "--grpc-implementation=grpcio" in more else "--mode=grpc,http-connect"
    flags = ("-v=0", modes, *more)
    server = deployment.start_package("konnectivity_server", deployment.server_arguments(*flags), within)
    side = Side(name, f"unix:{deployment.socket}", [server.pid, 0])
    side.tls = f"tls:{deployment.server_port}:{directory}"
    agent_flags = [each for each in more if "workers" not in each]

    def start() -> None:
        # -v=0 says nothing of connections: readiness does.
        side.pids[1] = deployment.start_package(
            "konnectivity_agent", deployment.agent_arguments("-v=0", *agent_flags), within
        ).pid
        _until_ready(deployment.health_port)

    start()
    if workers:
        time.sleep(2)  # until the agent has met both
    side.restart = start
    return side


def _compiled(stack: contextlib.ExitStack, directory: Path, missing: list[str]) -> list[Side]:
    """Start the programs of the compiled wheel, if there is one of the sources as they are."""
    wheel = builds.compiled_wheel()
    if wheel is None:
        missing.append(builds.MISSING)
        return []
    root = stack.enter_context(builds.unpacked(wheel))
    return [our_side(stack, directory, "compiled", within=builds.of_wheel(root))]


def _until_ready(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"the server with health port {port} did not become ready")


def _delayed(stack: contextlib.ExitStack, directory: Path, name: str, delay_ms: int, *more: str) -> Side:
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    server = deployment.start_server("--mode=http-connect", *more)
    line = stack.enter_context(DelayedLine(("127.0.0.1", deployment.agent_port), delay_ms / 1000))
    agent = deployment.start_agent(*more, port=line.port)
    return Side(f"{name}, {delay_ms} ms", f"unix:{deployment.socket}", [server.pid, agent.pid])


def haproxy_side(stack: contextlib.ExitStack, directory: Path, targets: dict[str, int]) -> Side:
    """Start two HAProxy processes with TLS between them: no tunnel and no multiplexing, the practical upper limit."""
    deployment = Deployment(directory)  # for its certificates
    (directory / "both.pem").write_bytes(
        (directory / "server.crt").read_bytes() + (directory / "server.key").read_bytes()
    )
    near = {name: free_port() for name in targets}
    far = {name: free_port() for name in targets}
    most = min(
        10_500, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100
    )  # it does not start with less than it says
    pids = []
    for hop in ("near", "far"):
        lines = ["defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 60s", "  timeout server 60s"]
        for name in targets:
            if hop == "near":
                here, there = f"127.0.0.1:{near[name]}", f"127.0.0.1:{far[name]} ssl verify none"
            else:
                here = f"127.0.0.1:{far[name]} ssl crt {deployment.path('both.pem')}"
                there = f"127.0.0.1:{targets[name]}"
            lines += [f"listen {name}", f"  bind {here}", f"  server it {there}"]
        config = directory / f"{hop}.cfg"
        config.write_text(f"global\n  maxconn {most}\n  nbthread 1\n" + "\n".join(lines) + "\n")
        assert HAPROXY is not None
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        pids.append(process.pid)
    time.sleep(0.5)
    return Side("haproxy", "direct", pids, near)


def _reference(
    stack: contextlib.ExitStack, directory: Path, name: str, frontend: str, delay_ms: int | None = None
) -> Side:
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    server = reference.start_server(deployment, frontend)
    side = Side(name, f"{'grpc' if frontend == 'grpc' else 'unix'}:{deployment.socket}", [server.pid, 0])
    side.tls = f"tls:{deployment.server_port}:{directory}"
    port = 0
    if delay_ms is not None:
        line = stack.enter_context(DelayedLine(("127.0.0.1", deployment.agent_port), delay_ms / 1000))
        port = line.port

    def start() -> None:
        side.pids[1] = reference.start_agent(deployment, port=port).pid
        _until_ready(deployment.health_port)

    start()
    side.restart = start
    return side

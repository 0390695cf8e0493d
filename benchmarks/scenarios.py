"""Scenarios: the rows of the report, each one or a few runs of the load generator against one side."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import reusable_tunnel
from benchmarks.load import Way
from benchmarks.measurement import MAIN, Bench, Result, Run, Scenario, answer
from benchmarks.sides import Side

UPLOADS = 300
IDLE = 10_000  # connections that are held open
AGENTS = 5000  # that lose their server at once
BUILDS = (*MAIN, "compiled")  # both builds of our programs
FULL = (*BUILDS, "2 workers")
LONG = ("direct", "native", "reference", "grpcio")
TUNNELS = ("native", "grpcio", "reference")
OTHERS = ("reference", "microsocks")  # beside a forward proxy: CONNECT of the reference, and SOCKS5 without a tunnel
STORM_TIMEOUT_S = 400
PACE = {"grpcio": 0.4}  # what is slow gets fewer operations, so that its turn is about as long as another's


def _echo(connections: int, count: int, size: int = 64) -> Run:
    def run(bench: Bench, side: Side) -> Result:
        paced = int(count * PACE.get(side.name, 1))
        return bench.load(side, "echo", "echo", connections=connections, count=paced, size=size)

    return run


def _dials(way: str) -> Run:
    def run(bench: Bench, side: Side) -> Result:
        to = {"forward": side.to, "unix": side.to, "grpc": side.to.replace("unix:", "grpc:"), "tls": side.tls}[way]
        return bench.load(side, "dials", "echo", to, connections=8, count=800 if way in ("grpc", "tls") else 2000)

    return run


def _reused(bench: Bench, side: Side) -> Result:
    return reusable_tunnel.dials(side.to.partition(":")[2], bench.port(side, "echo"))


def _bulk(down: int, up: int, seconds: float = 2) -> Run:
    def run(bench: Bench, side: Side) -> Result:
        sink = bench.port(side, "sink")
        return bench.load(side, "bulk", "source", other=sink, down=down, up=up, seconds=seconds)

    return run


def _mix(bench: Bench, side: Side) -> Result:
    return bench.load(side, "mix", "echo", other=bench.port(side, "source"), seconds=4)


def _stalled(count: int, target: str) -> Run:
    """Measure echo beside stalled connections: uploads to a sleeping target, or downloads by a sleeping client."""

    def run(bench: Bench, side: Side) -> Result:
        with contextlib.ExitStack() as stack:
            way = Way(side.to, bench.port(side, target))
            sockets = [stack.enter_context(way.blocking()) for _ in range(count)]
            if target == "sleeper":
                _fill(sockets)
            time.sleep(1.0)
            process = bench.start_load(side, "echo", "echo", connections=1, count=2000)
            stack.callback(process.kill)
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=15)
                return json.loads(output) if process.returncode == 0 else {"error": "failed"}
            return {"error": "no echo in 15 s"}

    return run


def _fill(sockets: Sequence[Any]) -> None:
    """Send on all sockets until none takes a byte for a while."""
    for sock in sockets:
        sock.setblocking(False)
    last = time.monotonic()
    while time.monotonic() - last < 0.5:
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(bytes(256 * 1024))
                last = time.monotonic()
        time.sleep(0.01)


def _echo_beside_bulk(bench: Bench, side: Side) -> Result:
    bulk = bench.start_load(side, "bulk", "source", down=1, seconds=4)
    time.sleep(1.0)
    result = bench.load(side, "echo", "echo", connections=1, count=1000)
    result["bulk"] = answer(bulk)
    return result


def _echo_beside_upload(bench: Bench, side: Side) -> Result:
    bulk = bench.start_load(side, "bulk", "source", other=bench.port(side, "sink"), up=1, seconds=9)
    time.sleep(2.0)
    result = bench.load(side, "echo", "echo", connections=1, count=80)
    result["bulk"] = answer(bulk)
    return result


def _idle(bench: Bench, side: Side) -> Result:
    """Measure the memory of each program per open connection."""
    before = side.memory_kib()
    load = bench.start_load(side, "idle", "echo", count=IDLE)
    assert load.stdout is not None
    if load.stdout.readline() != "open\n":
        return answer(load)
    more = [after - start for after, start in zip(side.memory_kib(), before, strict=True)]
    answer(load)
    return {"kib": sum(more) / IDLE, "kib_each": [round(each / IDLE, 2) for each in more], "operations": IDLE}


def _uploads(scenario: str) -> Run:
    return lambda b, s: b.load(s, scenario, "judge", count=UPLOADS, verdict=b.ports["verdict"])


def _killed(bench: Bench, side: Side) -> Result:
    """Measure the milliseconds from an agent's death until a client in mid-download sees the end."""
    assert side.restart is not None
    try:
        with Way(side.to, bench.port(side, "source")).blocking() as sock:
            for _ in range(100):
                sock.recv(1 << 18)
            os.kill(side.pids[1], signal.SIGKILL)
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while sock.recv(1 << 20):
                    pass
            return {"ms": (time.monotonic() - started) * 1000}
    finally:
        side.restart()


def _crowd(bench: Bench, side: Side) -> Result:
    """Let a crowd of agents lose their server, with programs and ports of their own."""
    command = [sys.executable, "-m", "benchmarks.storm", f"--agents={AGENTS}"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=STORM_TIMEOUT_S, check=True).stdout
    result: Result = json.loads(output)
    return result


_BACK = f"{AGENTS:,} agents: all back after their server restarted"
SCENARIOS = (
    Scenario("echo 64 B, 1 connection", "p50 us", "p50_us", _echo(1, 4000), "echo, latency", BUILDS, "less", True,
             (("reference", 0.6), ("haproxy", 1.2)), turns=3),
    Scenario("echo 64 B, 1 connection, p99", "p99 us", "p99_us", _echo(1, 4000), "echo, latency", BUILDS, "less",
             of="echo 64 B, 1 connection"),
    Scenario("echo 64 B, 32 connections", "1/s", "per_s", _echo(32, 1000), "echo, rate", FULL, quick=True,
             targets=(("reference", 1.6), ("haproxy", 1.0)), cpu_targets=(("reference", 0.5),), turns=3),
    Scenario("echo 64 B, 128 connections", "1/s", "per_s", _echo(128, 300), "echo, rate", FULL,
             targets=(("reference", 1.6), ("haproxy", 1.0)), cpu_targets=(("reference", 0.5),), turns=3),
    Scenario("echo 64 B, 1,000 connections", "1/s", "per_s", _echo(1000, 40), "echo, rate"),
    Scenario("echo 1 KiB, 32 connections", "1/s", "per_s", _echo(32, 800, 1024), "echo, rate"),
    Scenario("echo 16 KiB, 32 connections", "1/s", "per_s", _echo(32, 300, 16384), "echo, rate"),
    Scenario("connect + echo + close, CONNECT", "1/s", "per_s", _dials("unix"), "dials", FULL, quick=True,
             targets=(("reference", 1.3), ("haproxy", 1.0)), cpu_targets=(("reference", 0.7),), turns=3),
    Scenario("the same, CONNECT over mutual TLS", "1/s", "per_s", _dials("tls"), "dials",
             ("native", "grpcio", "reference, TLS"), targets=(("reference, TLS", 1.0),)),
    Scenario("the same, gRPC, a tunnel for each", "1/s", "per_s", _dials("grpc"), "dials",
             ("native", "compiled", "reference, gRPC"), targets=(("reference, gRPC", 1.2),),
             cpu_targets=(("reference, gRPC", 0.8),), turns=3),
    Scenario("the same, gRPC, one reused tunnel (Go)", "1/s", "per_s", _reused, "dials",
             ("native", "compiled", "reference, gRPC"), targets=(("reference, gRPC", 1.0),),
             cpu_targets=(("reference, gRPC", 1.0),), turns=3),
    Scenario("bulk down", "MiB/s", "mib_per_s", _bulk(1, 0), "bulk", BUILDS, quick=True,
             targets=(("reference", 3.5), ("haproxy", 1.0)), cpu_targets=(("reference", 0.28),), turns=3),
    Scenario("bulk down, 8 connections", "MiB/s", "mib_per_s", _bulk(8, 0), "bulk", FULL),
    Scenario("bulk up", "MiB/s", "mib_per_s", _bulk(0, 1), "bulk", BUILDS, quick=True,
             targets=(("reference", 3.0), ("haproxy", 1.0)), cpu_targets=(("reference", 0.28),), turns=3),
    Scenario("bulk up, 8 connections", "MiB/s", "mib_per_s", _bulk(0, 8), "bulk"),
    Scenario("bulk both ways", "MiB/s", "mib_per_s", _bulk(1, 1), "bulk"),
    *(
        Scenario(f"forward, {kind}: {what}", unit, value, run, "forward proxy", (f"native, {kind}", *OTHERS), better)
        for kind in ("sidecar SOCKS5", "sidecar CONNECT", "inside SOCKS5")
        for what, unit, value, run, better in (
            ("echo", "p50 us", "p50_us", _echo(1, 4000), "less"),
            ("echo, 32 connections", "1/s", "per_s", _echo(32, 1000), "more"),
            ("connect + echo + close", "1/s", "per_s", _dials("forward"), "more"),
            ("bulk down", "MiB/s", "mib_per_s", _bulk(1, 0), "more"),
        )
    ),
    Scenario("mix: requests", "1/s", "requests_per_s", _mix, "mix", targets=(("reference", 10.0),)),
    Scenario("mix: keystroke, p99", "p99 us", "key_p99_us", _mix, "mix, latency", MAIN, "less", of="mix: requests",
             targets=(("reference", 0.1),)),
    Scenario("echo beside bulk down, p99", "p99 us", "p99_us", _echo_beside_bulk, "neighbours", MAIN, "less"),
    *(
        Scenario(f"echo beside {what}, p99", "p99 us", "p99_us", _stalled(count, target), "neighbours",
                 MAIN, "less", quick=count == 1)
        for what, count, target in (
            ("1 stalled download", 1, "source"),
            ("100 stalled downloads", 100, "source"),
            ("1 stalled upload", 1, "sleeper"),
            ("100 stalled uploads", 100, "sleeper"),
        )
    ),
    Scenario(f"{UPLOADS} uploads, closed at once: whole", "of them", "whole", _uploads("uploads"), "exact", once=True),
    Scenario(f"{UPLOADS} uploads, half-closed: answers right", "of them", "whole", _uploads("answers"), "exact",
             once=True),
    Scenario("agent killed: a download ends after", "ms", "ms", _killed, "exact", TUNNELS, "less"),
    Scenario(f"memory of {IDLE:,} idle connections, each", "KiB", "kib", _idle, "memory", ("haproxy", *TUNNELS), "less",
             targets=(("reference", 1.0),), once=True),
    Scenario(_BACK, "s", "back_s", _crowd, "agents", ("native",), "less", once=True),
    *(
        Scenario(f"{AGENTS:,} agents: {what}", unit, value, _crowd, "agents", ("native",), "less", of=_BACK)
        for what, unit, value in (
            ("CPU of the server until then", "s", "back_cpu_s"),
            ("memory of the server, at most", "MiB", "peak_mib"),
            ("memory of each at rest", "KiB", "kib_each"),
            ("CPU of the server at rest", "% of a core", "idle_cpu_percent"),
        )
    ),
    *(
        Scenario(f"{what}, {delay} ms round trip", unit, value, run, "long line",
                 tuple(f"{name}, {delay} ms" for name in sides), "less" if value == "p99_us" else "more",
                 targets=((f"reference, {delay} ms", wanted),) if delay else ())
        for what, delays, unit, value, run, sides, wanted in (
            ("bulk down", (0, 20, 50, 100), "MiB/s", "mib_per_s", _bulk(1, 0, 3), LONG, 1.5),
            ("bulk up", (20, 50, 100), "MiB/s", "mib_per_s", _bulk(0, 1, 3), LONG, 1.5),
            ("bulk up, 8 connections", (50,), "MiB/s", "mib_per_s", _bulk(0, 8, 3), LONG, 1.5),
            ("echo beside bulk up, p99", (50,), "p99 us", "p99_us", _echo_beside_upload, LONG[1:3], 1.0),
        )
        for delay in delays
    ),
)  # fmt: skip

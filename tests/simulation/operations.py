"""Operations of a plan, carried out in a world. Each fault ends by itself after its seconds."""

from __future__ import annotations

from collections.abc import Callable

from simulation.conversations import Script
from simulation.machine import MACHINE
from simulation.plan import Operation
from simulation.processes import SimulatedProcess
from simulation.world import World

SLOW_RATE = 20_000.0  # bytes per second of a slow line
FAR_DELAY_S = (0.3, 0.9)  # of a line that has become long
SLOW_API_S = 8.0  # time of an answer of the API
FRESH_START_S = 0.3  # between the end of a program and its next start


class Operations:
    """Carries out the operations of one run, and takes back what they did when their time is over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def run_until(self, moment: float) -> None:
        """Let time pass, and end the faults whose time is over."""
        while self._later and self._later[0][0] <= moment:
            due, _, action = self._later.pop(0)
            self._world.run_until(due)
            action()
        self._world.run_until(moment)

    def perform(self, operation: Operation) -> None:
        """Carry out one operation now."""
        arguments = operation.arguments
        if operation.kind == "dial":
            own = {name: value for name, value in arguments.items() if name not in ("server", "frontend", "tenant")}
            tenant = self._world.tenant(arguments.get("tenant"))
            self._world.converse(f"server-{arguments['server']}", arguments["frontend"], Script(**own), tenant)
        elif "tenant" in arguments:
            self._disturb_tenant(operation.kind, self._world.tenant(arguments["tenant"]), arguments["seconds"])
        elif "program" in arguments:
            self._disturb_program(operation.kind, arguments["program"], arguments["seconds"])
        else:
            self._disturb_line(operation.kind, arguments["a"], arguments["b"], arguments["seconds"])

    @property
    def pending(self) -> bool:
        """Return whether a fault has not ended yet."""
        return bool(self._later)

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        self._count += 1
        self._later.append((MACHINE.now + seconds, self._count, action))
        self._later.sort(key=lambda each: each[:2])

    def _disturb_program(self, kind: str, name: str, seconds: float) -> None:
        world = self._world
        process = world.processes[name]
        if process.dead:
            return
        world.trace.note("plan", kind, name, f"for {seconds} s")
        world.disturbances.program(name)
        if kind == "freeze":
            world.loop.freeze(process)
            self._after(seconds, lambda: world.loop.thaw(process))
        elif kind == "slow api":
            world.api.slow_s = SLOW_API_S
            self._after(seconds, world.api.recover)
        elif kind == "stale api":
            world.api.make_stale()
            self._after(seconds, world.api.recover)
        elif kind == "kill":
            world.loop.kill(process)
            world.forgive_ends(name)
            self._after(seconds, lambda: world.restart(name))
        else:
            world.terminate(name)
            self._after(seconds, lambda: self._start_again(name, process))

    def _disturb_tenant(self, kind: str, tenant: str, seconds: float) -> None:
        """Remove a tenant for a while, or change its options at once and once more later."""
        world = self._world
        world.trace.note("plan", kind, tenant, f"for {seconds} s")
        world.disturbances.tenants.add(tenant)
        if kind == "remove tenant":
            world.remove_tenant(tenant)
        else:
            world.declare_tenant(tenant)
        self._after(seconds, lambda: world.declare_tenant(tenant))

    def _start_again(self, name: str, process: SimulatedProcess) -> None:
        """Start a program as soon as its process has ended, unless another fault has started the program since."""
        if process.dead:
            self._world.restart(name)
        else:
            self._after(1.0 if process.frozen else FRESH_START_S, lambda: self._start_again(name, process))

    def _disturb_line(self, kind: str, a: str, b: str, seconds: float) -> None:
        world = self._world
        network, hosts = world.network, [world.processes[each].host for each in (a, b)]
        line = network.line_between(*hosts)
        if hosts[0] == hosts[1]:
            return
        if kind in ("closed", "forgotten") and "targets" in (a, b):
            kind = "reset"  # these targets speak no TLS, which tells a forged end, and have no keepalive
        world.trace.note("plan", kind, a, "-", b, f"for {seconds} s")
        world.disturbances.line(*hosts)
        if kind in ("silence", "one-way"):
            network.silence(*hosts, *(hosts[:1] if kind == "one-way" else ()))
            self._after(seconds, lambda: network.heal_line(*hosts))
        elif kind == "slow":
            line.rate = SLOW_RATE
            self._after(seconds, lambda: network.heal_line(*hosts))
        elif kind == "far":
            line.delay_s = FAR_DELAY_S
            self._after(seconds, lambda: network.heal_line(*hosts))
        else:
            network.break_connections(*hosts, kind)

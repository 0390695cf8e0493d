"""One run: a plan carried out in a new world, watched by every invariant, to its end in quiet."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from simulation.conversations import Script
from simulation.descriptors import KERNEL
from simulation.invariants import INVARIANTS, Invariant, NothingIsLeft
from simulation.machine import FIRST_S, MACHINE
from simulation.operations import Operations
from simulation.plan import FRONTENDS, Plan
from simulation.programs import AgentPlan, Programs, ServerPlan
from simulation.trace import KEPT
from simulation.world import World

LOOK_S = 0.5  # between two looks at the invariants
SETTLE_S = 8.0  # after the start, and between the probes and the last look
RECOVERY_S = 75.0  # after the last fault: the longest back-off, heartbeat and keepalive
LONGEST_QUIET_S = 400.0  # until every conversation is over
MOMENTS, MOMENT_S = 12, 0.37  # looks at the quiet, and the time between two of them
STEPS = 1_000_000  # of one run, ten times the usual number: more means that something runs in circles


@dataclass(frozen=True)
class Outcome:
    """Result of one run."""

    violations: tuple[str, ...]
    steps: int
    virtual_s: float
    digest: str
    trace: tuple[str, ...]


class Run:
    """One plan, carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        servers = tuple(ServerPlan(f"server-{n}", f"10.1.0.{n + 1}", flags) for n, flags in enumerate(plan.servers))
        self.world = World(str(plan.seed), Programs(servers, _agents(plan), plan.peers, plan.leases, _tenants(plan)))
        self._operations = Operations(self.world)
        self._invariants: list[Invariant] = [kind(self.world, plan) for kind in INVARIANTS]
        self._looked_at = 0.0

    def carry_out(self) -> Outcome:
        """Run the plan to its end or to the first violation."""
        world = self.world
        with _own_directory():
            world.begin()
            for stage in (self._beginning, self._middle, self._recovery, self._end):
                if not world.violations:
                    stage()
            world.end()
        trace = world.trace
        lines = tuple(trace.lines(KEPT))
        return Outcome(tuple(world.violations), world.loop.steps, MACHINE.now - FIRST_S, trace.digest, lines)

    def _beginning(self) -> None:
        self._pass(SETTLE_S)
        self._probe()
        for each in self._invariants:
            if isinstance(each, NothingIsLeft):
                for _ in range(3):
                    each.remember()
                    self._pass(MOMENT_S)

    def _middle(self) -> None:
        began = MACHINE.now
        for operation in self.plan.operations:
            self._pass_until(began + operation.at)
            if self.world.violations:
                return
            self._operations.perform(operation)

    def _recovery(self) -> None:
        """End every fault, and wait until everything is over."""
        world = self.world
        while self._operations.pending and not world.violations:
            self._pass(1.0)
        world.network.heal()
        self._pass(RECOVERY_S)
        end = MACHINE.now + LONGEST_QUIET_S
        while MACHINE.now < end and not world.violations and any(not each.over for each in world.conversations):
            self._pass(2.0)

    def _end(self) -> None:
        """Judge the quiet; what only a moment shows, such as the search of an agent, is over at another one."""
        self._probe(judged=False)  # a client may still have to notice that its connection to the server is gone
        self._probe()
        broken: dict[str, None] | None = None  # at every moment so far
        for _ in range(MOMENTS):
            found = dict.fromkeys(text for each in self._invariants for text in each.quiet())
            broken = found if broken is None else {text: None for text in broken if text in found}
            if not broken or self.world.violations:
                return
            self._pass(MOMENT_S)
        self.world.violations += broken or ()

    def _probe(self, judged: bool = True) -> None:
        """Let one conversation pass through every frontend of every server, and let everything settle."""
        world = self.world
        probes = [
            world.converse(server.name, frontend, Script("echo", up=2000, half_close=False), tenant)
            for server in world.programs.servers
            for tenant in world.programs.tenants or ("",)
            for frontend in FRONTENDS
        ]
        self._pass(SETTLE_S)
        for each in probes:
            if judged and (each.outcome != "connected" or each.client.received != 2000):
                world.violations.append(
                    f"in quiet, a probe through {each.server}, {each.frontend}: {each.outcome or 'no answer'}, "
                    f"{each.client.received} bytes came back"
                )

    def _pass(self, seconds: float) -> None:
        self._pass_until(MACHINE.now + seconds)

    def _pass_until(self, moment: float) -> None:
        """Let time pass, and look at the invariants on the way."""
        world = self.world
        while MACHINE.now < moment and not world.violations:
            self._operations.run_until(min(moment, MACHINE.now + LOOK_S))
            for each in self._invariants:
                world.violations += each.look()
            if world.loop.steps > STEPS:
                world.violations.append(f"the programs run in circles: {world.loop.steps} steps")


def _tenants(plan: Plan) -> tuple[str, ...]:
    return tuple(f"tenant-{number}" for number in range(plan.tenants))


def _agents(plan: Plan) -> tuple[AgentPlan, ...]:
    """Return the agents of a plan. Those of several tenants take turns; agents of two tenants have the same IDs."""
    tenants = _tenants(plan) or ("",)
    return tuple(
        AgentPlan(
            f"agent-{number}",
            f"10.2.0.{number + 1}",
            flags,
            tenants[number % len(tenants)],
            f"agent-{number // len(tenants)}",
        )
        for number, flags in enumerate(plan.agents)
    )


@contextmanager
def _own_directory() -> Iterator[None]:
    """Work in a directory of its own, where the unix sockets are."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="simulation-") as directory:
        os.chdir(directory)
        try:
            yield
        finally:
            os.chdir(before)


def carry_out(plan: Plan) -> Outcome:
    """Run a plan, and free everything that it made.

    Nothing of a run is freed while another one runs: coroutines that are freed run their last lines.
    """
    gc.disable()
    try:
        return Run(plan).carry_out()
    finally:
        KERNEL.loop = KERNEL.network = None
        before, sys.unraisablehook = sys.unraisablehook, lambda _: None
        gc.enable()
        gc.collect()
        sys.unraisablehook = before

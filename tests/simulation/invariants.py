"""What must always hold, whatever the seed does. Each class is one promise.

`look` is called about twice per virtual second. `quiet` is called at several moments, after every fault has ended and
everything had time to settle: a line that it returns at each of them is a broken promise. Both return what is broken,
in words. The bytes themselves are checked as they arrive, by `conversations`: every byte once, in order, to its own
connection, and a clean end only behind the last byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from simulation.conversations import Conversation
from simulation.machine import MACHINE
from simulation.plan import Plan
from simulation.processes import SimulatedProcess
from simulation.world import World

DIAL_TIMEOUT_S = 10.0  # --backend-dial-timeout
SLACK_S = 1.0
HEARTBEAT_S = 10.0  # --heartbeat-interval, unless a plan shortens it
REFERENCE_HEARTBEAT_S = 31.0  # of an agent about a server that speaks the reference protocol
SUSPECT_S = 3.0
DEAD_S = 20.0  # without an answer, after which an agent that is heard and does not hear leaves its server
SLEEP = "_set_result_unless_cancelled"  # callback of the timer of asyncio.sleep
CALM_S = 30.0  # longest time of a conversation that nothing disturbs, without its own pauses


def servers(world: World) -> Iterator[tuple[str, SimulatedProcess, Any]]:
    """Yield name, process and product object of each server that runs."""
    for plan in world.programs.servers:
        process = world.processes[plan.name]
        if not process.dead and getattr(process, "product", None) is not None:
            yield plan.name, process, process.product  # type: ignore[attr-defined]


def tenants(server: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and product object of each tenant of a server; of the only one the name is empty."""
    if hasattr(server.tenancy, "tenants"):
        yield from ((each.name, each.tenant) for each in server.tenancy.tenants.served())
    else:
        yield "", server.tenancy.tenant


def agents(world: World) -> Iterator[tuple[str, SimulatedProcess, Any]]:
    """Yield name, process and product object of each agent that runs."""
    for plan in world.programs.agents:
        process = world.processes[plan.name]
        if not process.dead and getattr(process, "product", None) is not None:
            yield plan.name, process, process.product  # type: ignore[attr-defined]


def _reset_at_once(each: Conversation) -> bool:
    """Return whether the target's reset overtook the answer to the dial."""
    return each.script.target == "reset" and "connection reset" in each.outcome


class Invariant:
    """One promise."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan

    def look(self) -> Iterator[str]:
        """Yield what is broken at this moment."""
        return iter(())

    def quiet(self) -> Iterator[str]:
        """Yield what is broken after quiet has returned."""
        return iter(())


class NoUnexpectedError(Invariant):
    """No callback and no task of a program raises, and no program ends by itself."""

    def look(self) -> Iterator[str]:
        yield from self.world.loop.errors
        self.world.loop.errors.clear()


class BudgetsHold(Invariant):
    """No account of memory is negative or above its limit."""

    def look(self) -> Iterator[str]:
        for name, _, server in servers(self.world):
            for of, tenant in tenants(server):
                yield from self._of(f"{name} {of}", tenant.view.memory)
                yield from self._of(name, tenant.view.memory.whole or tenant.view.memory)
        for name, _, agent in agents(self.world):
            yield from self._of(name, agent._collector._sources.tunnels.memory)

    def _of(self, name: str, memory: Any) -> Iterator[str]:
        if min(memory.used, memory.grown, memory.owed, memory.backlog) < 0:
            yield f"{name}: an account of memory is negative: {memory}"
        excess = max(memory.process_budget // 16, 4 * memory.initial_window)
        if memory.backlog > memory.process_budget + excess:
            yield f"{name}: {memory.backlog} bytes wait for local sides, the budget is {memory.process_budget}"
        if memory.grown > memory.growth_budget:
            yield f"{name}: windows have grown by {memory.grown} bytes, {memory.growth_budget} are allowed"


class EveryDialEnds(Invariant):
    """Every dial has an answer within its deadline, unless the way between client and server is disturbed."""

    def look(self) -> Iterator[str]:
        for each in self.world.conversations:
            waited_s = MACHINE.now - each.dialed_at
            if not each.outcome and waited_s > self._limit_s(each) + SLACK_S:
                each.outcome = "overdue"
                yield f"conversation {each.number} ({each.frontend}): no answer to its dial after {waited_s:.1f} s"

    def _limit_s(self, each: Conversation) -> float:
        touched = self.world.disturbances
        host = next(plan.host for plan in self.world.programs.servers if plan.name == each.server)
        undisturbed = each.server not in touched.programs and not any(host in line for line in touched.lines)
        return DIAL_TIMEOUT_S if undisturbed else each.deadline_s


class ReadinessIsTrue(Invariant):
    """A server does not report ready for longer than the documented time while no agent could serve a dial.

    The heartbeat of the server begins at the last byte of an agent. An agent that is heard and does not hear leaves by
    the end of its own heartbeat (docs/operate/availability.md).
    """

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan)
        self._since: dict[str, float] = {}

    def look(self) -> Iterator[str]:
        for name, process, server in servers(self.world):
            for of, tenant in tenants(server):
                yield from self._of(f"{name} {of}".strip(), of, process, tenant.view)

    def _of(self, name: str, tenant: str, process: SimulatedProcess, view: Any) -> Iterator[str]:
        if process.frozen or view.not_ready() is not None or self._reachable(process.host, tenant):
            self._since.pop(name, None)
            return
        since = self._since.setdefault(name, MACHINE.now)
        unheard_s = MACHINE.now - max(since, self._heard(process.host, tenant))
        if unheard_s > HEARTBEAT_S + SUSPECT_S + SLACK_S or MACHINE.now - since > self._heard_s() + SLACK_S:
            self._since[name] = MACHINE.now
            yield (
                f"{name} reports ready, and no agent could be reached for {MACHINE.now - since:.1f} s, "
                f"nor was heard for {unheard_s:.1f} s"
            )

    def _heard_s(self) -> float:
        """Return the longest time for which an agent is heard that does not hear."""
        return DEAD_S + (HEARTBEAT_S if self.world.programs.exact else REFERENCE_HEARTBEAT_S)

    def _heard(self, host: str, tenant: str) -> float:
        """Return the moment at which the last byte of an agent arrived."""
        found = self.world.agents_of(tenant)
        lines = [self.world.network.line_between(host, each.host) for each in found]
        return max(line.last_arrivals[each.host] for line, each in zip(lines, found, strict=True))

    def _reachable(self, host: str, tenant: str) -> bool:
        if self.plan.peers:
            return True  # another server may have an agent
        for plan in self.world.agents_of(tenant):
            process = self.world.processes[plan.name]
            line = self.world.network.line_between(host, plan.host)
            if not process.dead and not process.frozen and not line.silent:
                return True
        return False


class CalmIsPerfect(Invariant):
    """Without faults every dial succeeds and every conversation is complete in time, whatever others do not read.

    The faults of one tenant are none for another.
    """

    def quiet(self) -> Iterator[str]:
        if any(self.plan.agents) or any(self.plan.servers):
            return  # small budgets and the reference protocol may cost a stalled connection
        for each in self.world.conversations:
            if self._undisturbed(each):
                yield from self._of(each)

    def _undisturbed(self, each: Conversation) -> bool:
        """Return whether no fault has touched a program or a line on the possible ways of a conversation."""
        world, touched = self.world, self.world.disturbances
        own_agents = {agent.name for agent in world.agents_of(each.tenant)}
        others = {agent.name for agent in world.programs.agents} - own_agents
        if touched.programs - others or each.tenant in touched.tenants:
            return False
        elsewhere = {agent.host for agent in world.programs.agents if agent.name in others}
        return all(line & elsewhere for line in touched.lines)

    def _of(self, each: Conversation) -> Iterator[str]:
        script = each.script
        where = f"conversation {each.number} ({each.frontend}, {script.target})"
        if script.target == "refuse":
            if each.outcome == "connected" or "refused" not in each.outcome:
                yield f"{where}: a target that refuses gave {each.outcome!r}"
            return
        if each.outcome != "connected" and not _reset_at_once(each):
            yield f"{where}: the dial failed: {each.outcome}"
        elif script.target != "reset" and each.frontend.endswith("unix"):
            yield from self._complete(each, where)
        own_s = script.stall_s + (script.writes + 1) * script.pause_s
        if each.ended_at is not None and each.ended_at - each.dialed_at > CALM_S + own_s + self._line_s():
            yield f"{where}: took {each.ended_at - each.dialed_at:.1f} s"

    def _line_s(self) -> float:
        """Return the seconds in which the slowest tunnel carries all bytes, each way, with its window of TCP."""
        paths = [
            (server.host, agent.host) for server in self.world.programs.servers for agent in self.world.programs.agents
        ]
        tunnels = [each for path in paths for each in self.world.network.on_line(*path) if each.capacity]
        bytes_each_way = sum(max(each.script.up, each.script.down) for each in self.world.conversations)
        return bytes_each_way * max((each.line.round_trip_s / each.capacity for each in tunnels), default=0.0)

    def _complete(self, each: Conversation, where: str) -> Iterator[str]:
        script, target = each.script, each.targets[0]
        if script.target in ("sink", "answer", "silent", "echo") and target.received != script.up:
            yield f"{where}: the target read {target.received} of {script.up} bytes"
        expected = {"echo": script.up, "source": script.down, "answer": script.down}.get(script.target, 0)
        if each.client.received != expected:
            yield f"{where}: the client read {each.client.received} of {expected} bytes"
        if each.client.saw_error:
            yield f"{where}: the client read {each.client.saw_error}"


class NoDialIsLost(Invariant):
    """While an agent is there that nothing happens to, every dial is served, whatever becomes of the other agents."""

    def quiet(self) -> Iterator[str]:
        flagged = any(self.plan.agents) or any(self.plan.servers) or self.plan.tenants
        if flagged or not self.plan.kinds <= {"terminate", "kill", "freeze"} or not self._another_agent():
            return
        for each in self.world.conversations:
            if each.outcome != "connected" and each.script.target != "refuse" and not _reset_at_once(each):
                yield f"conversation {each.number}: its dial was lost with an agent: {each.outcome}"

    def _another_agent(self) -> bool:
        """Return whether faults touch agents only, and not all of them."""
        programs = {each.arguments["program"] for each in self.plan.operations if each.kind != "dial"}
        names = {each.name for each in self.world.programs.agents}
        return programs <= names and bool(names - programs)


class BothSidesLearn(Invariant):
    """After quiet every conversation is over at both of its sides."""

    def quiet(self) -> Iterator[str]:
        for each in self.world.conversations:
            where = f"conversation {each.number} ({each.frontend}, {each.script.target}, {each.outcome})"
            if not each.client.closed:
                yield f"{where}: its client still waits"
            for side in each.targets:
                if not side.closed:
                    yield f"{where}: {side.name} still waits after {side.received} bytes"


class EverybodyIsConnected(Invariant):
    """After quiet every agent is on every server, with its tenant alone, and every server is ready."""

    def quiet(self) -> Iterator[str]:
        for name, _, server in servers(self.world):
            served = dict(tenants(server))
            if sorted(served) != sorted(self.world.programs.tenants or ("",)):
                yield f"{name}: its tenants are {sorted(served)}"
            for of, tenant in served.items():
                wanted = Counter(each.agent_id for each in self.world.agents_of(of))
                found = Counter(each.agent_id for each in tenant.view.registry.all())
                yield from (f"{name} {of}: {each} is not connected" for each in wanted - found)
                yield from (f"{name} {of}: {each} is connected once too often" for each in found - wanted)
                if (trouble := tenant.view.not_ready()) is not None:
                    yield f"{name} {of} is not ready: {trouble}"
        for name, _, agent in agents(self.world):
            found = sorted(agent._pool.servers)
            if found != sorted(each.name for each in self.world.programs.servers):
                yield f"{name}: its servers are {found}"


class TenantsAreApart(Invariant):
    """No conversation of a tenant passes through an agent of another one."""

    def look(self) -> Iterator[str]:
        for each in self.world.conversations:
            own = {agent.host for agent in self.world.agents_of(each.tenant)}
            for side in each.targets:
                if side.dialed_from and side.dialed_from not in own:
                    yield f"conversation {each.number} of {each.tenant or 'the cluster'} came from {side.dialed_from}"
                    side.dialed_from = ""


class NothingIsLeft(Invariant):
    """After quiet counters, memory, tasks and timers are where they began."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan)
        self._first: dict[str, Counter[str]] = {}

    def remember(self) -> None:
        """Take the state after the start as the one to return to: the least of several moments."""
        for name, process in self.world.processes.items():
            if name not in ("api", "targets"):
                state = self._state(process)
                self._first[name] = self._first.get(name, state) & state

    def quiet(self) -> Iterator[str]:
        for name, _, server in servers(self.world):
            for of, tenant in tenants(server):
                yield from self._of_tenant(f"{name} {of}", tenant)
                yield from self._memory(name, tenant.view.memory.whole or tenant.view.memory)
        for name, _, agent in agents(self.world):
            yield from self._memory(name, agent._collector._sources.tunnels.memory)
            if agent._pool.connections:
                yield f"{name}: {agent._pool.connections} connections are left"
        for name, process in self.world.processes.items():
            if name in self._first:
                more = self._state(process) - self._first[name]
                yield from (f"{name}: there are more of this than at the beginning: {each}" for each in more)

    def _of_tenant(self, name: str, tenant: Any) -> Iterator[str]:
        view = tenant.view
        yield from self._memory(name, view.memory)
        open_now = sum(len(each.connections) for each in view.tunnels)
        pending = sum(len(each.pending) for each in view.tunnels)
        if open_now or pending or view.connect.clients or tenant._dials._per_frontend:
            yield (
                f"{name}: left are {open_now} connections, {pending} dials, {view.connect.clients} clients, "
                f"and dials by frontend {dict(tenant._dials._per_frontend)}"
            )

    def _memory(self, name: str, memory: Any) -> Iterator[str]:
        if memory.used or memory.grown or memory.owed or memory.backlog or memory.stalled:
            yield f"{name}: memory is still booked: used {memory.used}, grown {memory.grown}, owed {memory.owed}"

    def _state(self, process: SimulatedProcess) -> Counter[str]:
        """Return the kinds of the tasks and timers of a process; the timer of a sleep belongs to a task."""
        loop = self.world.loop
        tasks = Counter(f"task {each.get_coro().__qualname__}" for each in loop.tasks_of(process))
        return tasks + Counter(f"timer {kind}" for kind in loop.timers_of(process) if kind != SLEEP)


INVARIANTS: tuple[type[Invariant], ...] = (
    NoUnexpectedError,
    BudgetsHold,
    EveryDialEnds,
    ReadinessIsTrue,
    CalmIsPerfect,
    NoDialIsLost,
    BothSidesLearn,
    EverybodyIsConnected,
    TenantsAreApart,
    NothingIsLeft,
)

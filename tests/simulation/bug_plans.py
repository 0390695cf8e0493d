"""Plans made to find one kind of fault, where random seeds meet its circumstances too rarely."""

from __future__ import annotations

from typing import Any

from simulation.plan import Operation, Plan

BUDGET = ("--process-buffer-budget=2Mi",)


def _plan(
    *operations: tuple[float, str, dict[str, Any]], agents: int = 1, flags: tuple[str, ...] = (), seed: int = 1
) -> Plan:
    """Return a plan with one server."""
    ordered = sorted(operations, key=lambda each: each[0])
    return Plan(seed, ((),), (flags,) * agents, False, False, tuple(Operation(*each) for each in ordered))


def _dial(at: float, frontend: str = "grpc unix", **script: Any) -> tuple[float, str, dict[str, Any]]:
    """Return a conversation through the only server."""
    return at, "dial", {"server": 0, "frontend": frontend, "half_close": True, **script}


def _fault(at: float, kind: str, seconds: float, program: str = "agent-0") -> tuple[float, str, dict[str, Any]]:
    """Return a fault of a program."""
    return at, kind, {"program": program, "seconds": seconds}


def only_agent_freezes() -> Plan:
    """Dials that no other agent can take."""
    return _plan(_fault(1.0, "freeze", 30.0), *(_dial(1.1 + number, up=700) for number in range(5)))


def one_agent_of_two_freezes() -> Plan:
    """Dials while the server knows that one of its agents is silent."""
    dials = (_dial(15.0 + number / 2, up=700) for number in range(20))
    return _plan(_fault(1.0, "freeze", 30.0, "agent-1"), *dials, agents=2)


def targets_stall() -> Plan:
    """More bytes than the agent's budget, all for targets that do not read."""
    stalled = {"target": "sink", "up": 1_500_000, "stall_s": 15.0, "stall_target": True}
    return _plan(*(_dial(1.0 + number / 10, **stalled) for number in range(12)), flags=BUDGET)


def targets_reset() -> Plan:
    """Targets that break connections whose clients wait for an answer."""
    return _plan(*(_dial(1.0 + number / 10, target="reset", up=700) for number in range(10)))


def server_is_killed() -> Plan:
    """A server that is killed and started again at once."""
    return _plan(_fault(5.0, "kill", 0.2, "server-0"), _dial(25.0, up=700), agents=2)


def client_gives_up() -> Plan:
    """An agent whose answers arrive after the server has given the dials up."""
    line = {"a": "agent-0", "b": "server-0", "seconds": 12.0}
    return _plan((1.0, "one-way", line), *(_dial(0.9 + number / 5, target="sink", up=700) for number in range(10)))

"""Plans made to find one kind of fault, where random seeds meet its circumstances too rarely."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from simulation.plan import FRONTENDS, Operation, Plan

PLANS = Path(__file__).parent / "plans"
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


def agent_ends_in_mid_upload() -> Plan:
    """An agent that is told to end while clients send for longer than it drains."""
    upload = {"target": "sink", "up": 70_000, "pieces": 20, "pause_s": 0.5}
    return _plan(_fault(2.0, "terminate", 5.0), *(_dial(1.0 + number / 10, **upload) for number in range(4)))


def agent_ends_with_unwritten_bytes() -> Plan:
    """An agent that ends before a slow target has taken the bytes of a client that is gone."""
    return _stored("an_agent_that_ends_with_bytes_for_a_slow_target")


def dial_meets_the_end_of_an_idle_connection() -> Plan:
    """A dial on a connection that its server ends at the same moment, since it had no call for too long."""
    return _stored("a_dial_that_meets_the_end_of_an_idle_connection")


def another_tenant_comes_and_goes() -> Plan:
    """Conversations of a tenant while another one of the same server is removed and declared again."""
    talk = {"target": "echo", "up": 70_000, "pieces": 20, "pause_s": 0.5, "tenant": 0}
    others = (_dial(1.0 + number / 10, frontend, **talk) for number, frontend in enumerate(FRONTENDS))
    change = (5.0, "remove tenant", {"tenant": 1, "seconds": 2.0})
    return replace(_plan(change, *others, agents=2), tenants=2)


def machine_in_the_middle_forgets_a_reader() -> Plan:
    """A client that has nothing more to send, and whose connection is forgotten on its way."""
    return _stored("a_client_whose_connection_was_forgotten_and_who_sends_nothing")


def _stored(name: str) -> Plan:
    return Plan.from_json((PLANS / f"{name}.json").read_text())

"""Shrinker: the shortest plan that still breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulation.plan import Plan

Fails = Callable[[Plan], bool]


def shrink(plan: Plan, fails: Fails) -> Plan:
    """Return a plan that fails and from which no operation, program or flag can be left out.

    Args:
        plan: plan that fails.
        fails: runs a plan, and returns whether it fails in the same way.

    """
    plan = _fewer_operations(plan, fails)
    for simpler in _simpler_programs(plan):
        if fails(simpler):
            plan = simpler
    return _fewer_operations(plan, fails)


def _fewer_operations(plan: Plan, fails: Fails) -> Plan:
    size = max(len(plan.operations) // 2, 1)
    while size:
        place = 0
        while place < len(plan.operations):
            shorter = plan.without(set(range(place, place + size)))
            if len(shorter.operations) < len(plan.operations) and fails(shorter):
                plan = shorter
            else:
                place += size
        size //= 2
    return plan


def _simpler_programs(plan: Plan) -> list[Plan]:
    """Return plans without peers, and without the flags of one program."""
    simpler = [replace(plan, peers=False)] if plan.peers else []
    for place, flags in enumerate(plan.servers):
        if flags:
            simpler.append(replace(plan, servers=(*plan.servers[:place], (), *plan.servers[place + 1 :])))
    for place, flags in enumerate(plan.agents):
        if flags:
            simpler.append(replace(plan, agents=(*plan.agents[:place], (), *plan.agents[place + 1 :])))
    return simpler

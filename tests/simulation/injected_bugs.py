"""Faults put back into the product, to show that the simulation finds them, and where the search for each begins.

Each changes the classes of the running process for the length of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simulation import bug_plans, new_bugs, past_bugs
from simulation.bug_registry import NEW, OLD
from simulation.plan import Plan

__all__ = ["FOUND_BY", "NEW", "OLD", "PLANS", "injected", "new_bugs", "past_bugs"]

# Plan that finds a fault whose circumstances random seeds meet too rarely.
PLANS: dict[str, Callable[[], Plan]] = {
    "a dial has no deadline": bug_plans.only_agent_freezes,
    "a connection that nobody wants any more is not closed": bug_plans.client_gives_up,
    "a lost server is not dialled again": bug_plans.server_is_killed,
    "dials go to silent agents as well": bug_plans.one_agent_of_two_freezes,
    "a reset connection is forgotten without a word": bug_plans.targets_reset,
    "every byte of a stalled connection is kept": bug_plans.targets_stall,
    "a program that ends leaves open connections to the kernel": bug_plans.agent_ends_in_mid_upload,
    "a dial that its server has not begun is not made again": bug_plans.dial_meets_the_end_of_an_idle_connection,
    "the names of one tenant lead to another": bug_plans.another_tenant_comes_and_goes,
    "a tenant that is removed takes the others with it": bug_plans.another_tenant_comes_and_goes,
    "an agent that ends leaves unwritten bytes to the kernel": bug_plans.agent_ends_with_unwritten_bytes,
    "a client that only reads never learns that its connection is gone": (
        bug_plans.machine_in_the_middle_forgets_a_reader
    ),
}
# Seed that finds a fault, from which the search begins; 0 for the others.
FOUND_BY: dict[str, int] = {
    "a dial that is lost with its agent is not tried again": 50,
    "a dial does not leave an agent that falls silent": 24,
    "a lost tunnel does not end the dials that wait on it": 50,
    "a broken connection is shown to the target as a clean end": 13,
    "the end of one direction is not passed on": 1,
    "a stalled connection holds the stream of all": 1,
    "a peer that is silent is believed alive": 24,
    "a reader that drained gets no credit": 1,
    "the end of data overtakes data": 5,
    "a queued piece is sent twice": 1,
    "new credit does not wake the local side": 1,
    "a stream that drained gives no turns": 5,
    "a heartbeat outlives its tunnel": 1,
}


@contextmanager
def injected(name: str) -> Iterator[None]:
    """Put one fault into the product for the length of the block."""
    place, attribute, value = {**OLD, **NEW}[name]()
    before = place.__dict__[attribute]
    setattr(place, attribute, value)
    try:
        yield
    finally:
        setattr(place, attribute, before)

"""Exploration of random seeds: as many as the CPU time allows, and for each failure the shortest plan that shows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from simulation.plan import Plan, draw
from simulation.run import Outcome, carry_out
from simulation.shrinker import shrink

SHOWN = 40  # lines of the trace of a failure
MAX_SHRINKING_S = 120.0
MAX_FAILURES = 5
_process_time = time.process_time


def explore(minutes: float, seed: int | None, say: Callable[[str], object] = print) -> int:
    """Run seeds for some minutes, print what they break, and return the exit code.

    Args:
        minutes: CPU time, so that a busy computer explores as much as an idle one.
        seed: first seed; None: one of chance, which is printed.
        say: prints a line.

    """
    first = time.time_ns() % 10**9 if seed is None else seed
    say(f"first seed {first}; repeat with `make simulate SEED={first}`")
    began, steps, runs, failures = _process_time(), 0, 0, 0
    virtual_s = 0.0
    while _process_time() - began < 60 * minutes and failures < MAX_FAILURES:
        plan = draw(first + runs)
        outcome = carry_out(plan)
        runs += 1
        steps += outcome.steps
        virtual_s += outcome.virtual_s
        if outcome.violations:
            failures += 1
            report(plan, outcome, say)
    took = max(_process_time() - began, 0.001)
    say(
        f"{runs} seeds, {steps:,} steps, {virtual_s / 3600:.1f} virtual hours in {took:.0f} s of CPU: "
        f"{60 * steps / took:,.0f} steps a minute; {failures} failures"
    )
    return 1 if failures else 0


def report(plan: Plan, outcome: Outcome, say: Callable[[str], object] = print) -> None:
    """Print a failure: the command that repeats it, the shortest plan, and its trace."""
    say(f"seed {plan.seed} FAILED: {outcome.violations[0]}")
    say(f"repeat: .venv/bin/python -m simulation --seed {plan.seed}")
    shortest, end = shortest_of(plan, outcome)
    say(f"shortest plan ({len(shortest.operations)} operations): {shortest.to_json()}")
    for line in end.trace[-SHOWN:]:
        say(line)
    for each in end.violations:
        say(f"BROKEN: {each}")
    sys.stdout.flush()


def shortest_of(plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
    """Return the shortest plan that breaks the same promise, and what happens in it."""
    kind, began = kind_of(outcome), _process_time()
    best = outcome

    def fails(candidate: Plan) -> bool:
        nonlocal best
        if _process_time() - began > MAX_SHRINKING_S:
            return False
        found = carry_out(candidate)
        if not found.violations or kind_of(found) != kind:
            return False
        best = found
        return True

    return shrink(plan, fails), best


def kind_of(outcome: Outcome) -> str:
    """Return the first violation without its numbers and names."""
    return "".join(each for each in outcome.violations[0] if not each.isdigit())[-60:]

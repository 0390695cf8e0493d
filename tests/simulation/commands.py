"""Commands of the simulation: repeat one run, or explore random seeds for some minutes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from simulation.plan import Plan, draw
from simulation.run import Outcome, carry_out

SHOWN = 60  # lines of the trace of a failure


def main(argv: Sequence[str]) -> int:
    """Carry out one command, and return the exit code: 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed to repeat, or the first one to explore")
    parser.add_argument("--plan", type=Path, help="file of a stored plan to repeat")
    parser.add_argument("--minutes", type=float, help="explore random seeds for this CPU time")
    parser.add_argument(
        "--walk", type=int, metavar="PACKETS", help="visit every state of two connections with so many packets each way"
    )
    parser.add_argument("--injected-bugs", nargs="*", help="find the injected faults of these names, or all")
    parser.add_argument("--plans", type=Path, nargs="+", help="files of stored plans that must pass")
    parser.add_argument("--first", type=int, help="run this number of seeds, from 0 on")
    parser.add_argument("--digests", type=int, nargs="+", help="print the hashes of the traces of these seeds")
    parser.add_argument("--trace", action="store_true", help="show the whole trace")
    arguments = parser.parse_args(argv)
    if arguments.walk is not None:
        failed = walk_pairs(arguments.walk)
        if failed or arguments.minutes is None:
            return failed
    if arguments.minutes is not None:
        from simulation.exploration import explore

        return explore(arguments.minutes, arguments.seed)
    if arguments.injected_bugs is not None:
        return find_injected_bugs(arguments.injected_bugs)
    if arguments.plans is not None:
        return check_plans(arguments.plans)
    if arguments.first is not None:
        return check_first(arguments.first)
    if arguments.digests is not None:
        return print_digests(arguments.digests)
    plan = Plan.from_json(arguments.plan.read_text()) if arguments.plan else draw(arguments.seed or 0)
    began = time.process_time()
    outcome = carry_out(plan)
    show(outcome, 10_000 if arguments.trace else SHOWN if outcome.violations else 0)
    took = time.process_time() - began
    print(
        f"{outcome.steps} steps, {outcome.virtual_s:.1f} virtual seconds, {took:.2f} s of CPU, "
        f"{60 * outcome.steps / took:,.0f} steps a minute; trace {outcome.digest[:16]}"
    )
    return 1 if outcome.violations else 0


def walk_pairs(packets: int) -> int:
    """Visit every state of two connections on one tunnel, and return the exit code: 1 if a promise was broken."""
    from simulation.exhaustive import explore
    from simulation.tunnel_system import Scope

    began = time.process_time()
    found = explore(Scope(connections=2, data=packets - 1))
    took = time.process_time() - began
    print(
        f"two connections, {packets} packets each way, the stream may break: {found.states:,} states, "
        f"{found.transitions:,} transitions in {took:.0f} s of CPU; {len(found.broken)} broken promises",
        flush=True,
    )
    for each in found.broken:
        print(f"BROKEN: {each}", flush=True)
    return 1 if found.broken else 0


def show(outcome: Outcome, lines: int) -> None:
    """Print the end of a trace, and what was broken."""
    if lines:
        print("\n".join(outcome.trace[-lines:]))
    for each in outcome.violations:
        print(f"BROKEN: {each}", file=sys.stdout)


def find_injected_bugs(names: Sequence[str]) -> int:
    """Print, as JSON, how long it takes to find each injected fault and what it breaks."""
    from simulation.injected_bugs import FOUND_BY, NEW, OLD, PLANS, injected

    found = {}
    for kind, bugs in (("old", OLD), ("new", NEW)):
        for name in bugs:
            if names and name not in names:
                continue
            with injected(name):
                if name in PLANS:
                    seconds, where, violation = _try(PLANS[name]())
                else:
                    seconds, where, violation = _search(FOUND_BY.get(name, 0))
            found[name] = {"kind": kind, "seconds": round(seconds, 1), "where": where, "violation": violation}
            print(f"{seconds:5.1f} s, {where}: {name}: {violation[:160] or 'NOT FOUND'}", flush=True)
    print(json.dumps(found))
    return 0


def _try(plan: Plan) -> tuple[float, str, str]:
    """Return the seconds of CPU of a run of a plan, the kind of the plan, and its violation; empty: none."""
    began = time.process_time()
    outcome = carry_out(plan)
    return time.process_time() - began, "plan", next(iter(outcome.violations), "")


def _search(first: int, longest_s: float = 60.0) -> tuple[float, str, str]:
    """Return the seconds of CPU until a seed breaks a promise, the seed, and the violation; empty: none was broken.

    The first seed tried is one that found the fault before.
    """
    began, seed = time.process_time(), first
    while time.process_time() - began < longest_s:
        outcome = carry_out(draw(seed))
        if outcome.violations:
            return time.process_time() - began, f"seed {seed}", outcome.violations[0]
        seed += 1
    return time.process_time() - began, f"seed {seed}", ""


def check_plans(paths: Sequence[Path]) -> int:
    """Run stored plans, and return the exit code: 1 if one breaks a promise."""
    failed = 0
    for path in paths:
        outcome = carry_out(Plan.from_json(path.read_text()))
        print(f"{path.name}: {outcome.steps} steps")
        show(outcome, SHOWN if outcome.violations else 0)
        failed += bool(outcome.violations)
    return 1 if failed else 0


def print_digests(seeds: Sequence[int]) -> int:
    """Print the hash of the trace of each seed."""
    for seed in seeds:
        print(f"{seed} {carry_out(draw(seed)).digest}")
    return 0


def check_first(count: int) -> int:
    """Run the first seeds, and return the exit code: 1 if one breaks a promise."""
    failed = steps = 0
    began = time.process_time()
    for seed in range(count):
        outcome = carry_out(draw(seed))
        steps += outcome.steps
        if outcome.violations:
            failed += 1
            print(f"seed {seed}")
            show(outcome, SHOWN)
    took = time.process_time() - began
    print(f"{count} seeds, {steps:,} steps in {took:.0f} s of CPU: {60 * steps / took:,.0f} steps a minute")
    return 1 if failed else 0

"""Every order of events on the pure core: two tunnel ends, their connections, and a stream that may break at any step.

No event loop, no clock, no chance. A state is rebuilt from the sequence of its events; a state that was seen before is
not left again. In every state the bytes are checked, and that a broken stream is an error for whoever has not finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulation.tunnel_system import CLIENT, Event, Scope, System


@dataclass
class Found:
    """Result of an exploration."""

    states: int = 0
    transitions: int = 0
    broken: list[str] = field(default_factory=list)


class _Timer:
    def cancel(self) -> None: ...


class _StillLoop:
    """What tunnels ask of an event loop, standing still."""

    def time(self) -> float:
        return 1000.0

    def call_later(self, *_: Any) -> _Timer:
        return _Timer()

    call_at = call_later


@contextmanager
def still_loop() -> Iterator[None]:
    """Let tunnels be made without an event loop."""
    asyncio._set_running_loop(_StillLoop())  # type: ignore[arg-type]
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


def explore(scope: Scope, most_broken: int = 3) -> Found:
    """Visit every state of a scope."""
    found = Found()
    with still_loop():
        seen: set[int] = {System(scope).key()}
        waiting: list[tuple[Event, ...]] = [()]
        newest: tuple[tuple[Event, ...], System] = ((), System(scope))  # usually the next to be visited
        while waiting and len(found.broken) < most_broken:
            path = waiting.pop()
            system = newest[1] if newest[0] is path else _rebuilt(scope, path)
            events = list(system.enabled())
            found.states += 1
            if not events:
                found.broken += [_told(path, each) for each in system.final_problems()]
            for event in events:
                found.transitions += 1
                steps = (*path, event)
                following = _rebuilt(scope, steps)
                found.broken += [_told(steps, each) for each in following.problems()]
                key = following.key()
                if key not in seen:
                    seen.add(key)
                    waiting.append(steps)
                    newest = steps, following
            system.happen(("break", 0, 0))
            found.transitions += 1
            found.broken += [_told((*path, ("break", 0, 0)), each) for each in system.problems()]
    return found


def _rebuilt(scope: Scope, path: tuple[Event, ...]) -> System:
    system = System(scope)
    for event in path:
        system.happen(event)
    return system


def _told(path: tuple[Event, ...], problem: str) -> str:
    steps = ", ".join(f"{kind} {'client' if side == CLIENT else 'target'} {number}" for kind, number, side in path)
    return f"{problem}; after: {steps}"

"""Every sequence of inputs to one connection, in each dialect, with a far end that need not keep the rules.

The walk takes every row of the state tables (`coverage`). In each state: a closed connection sends nothing, the local
side is told each end once and nothing after its close, and a break is never shown as a clean end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from konnectivity.tunnel import states
from konnectivity.tunnel.connection import Connection
from simulation.exhaustive import Found
from support.still_tunnel_side import StillLocalSide, StillTunnelSide

DEPTH = 6
DIALECTS: dict[str, tuple[states.Table, bool, int | None]] = {
    "extension": (states.EXTENDED, True, 8),
    "reference, serving": (states.REFERENCE_SERVING, False, None),
    "reference, dialing": (states.REFERENCE_DIALING, True, None),
}
_EXTENSION_ONLY = ("peer end", "peer end, too early", "peer stop", "credit", "no credit")
_REFERENCE_ONLY = ("peer closes",)

INPUTS: dict[str, Callable[[Connection], object]] = {
    "local data": lambda one: one.outbound.send(b"abc"),
    "local end": Connection.local_end,
    "local gone": Connection.local_gone,
    "local lost": lambda one: one.local_lost("lost"),
    "peer data": lambda one: one.inbound.receive(memoryview(b"xy")),
    "peer end": lambda one: one.peer_end(one.inbound.received),
    "peer end, too early": lambda one: one.peer_end(one.inbound.received + 1),
    "peer stop": lambda one: one.peer_stop("enough"),
    "credit": lambda one: one.outbound.add_credit(4),
    "no credit": lambda one: one.outbound.add_credit(0),
    "peer closes": lambda one: one.peer_close(""),
    "peer fails": lambda one: one.peer_close("broken"),
    "peer resets": lambda one: one.peer_reset("broken", 1),
    "tunnel lost": lambda one: one.tunnel_lost("gone"),
    "expired": lambda one: one.expired(),
    "violation": lambda one: one.violated("nonsense"),
}


class _System:
    def __init__(self, dialect: str) -> None:
        table, dialing, credit = DIALECTS[dialect]
        self.tunnel = StillTunnelSide()
        self.connection = self.tunnel.open(credit, table, dialing)
        self.local = StillLocalSide()
        self.connection.attach(self.local)
        self.path: list[str] = []
        self.problems: list[str] = []

    def take(self, name: str) -> None:
        """Let an input arrive, and check what followed from it."""
        connection, local = self.connection, self.local
        was_closed = connection.closed
        packets, data, news = len(self.tunnel.packets), len(self.tunnel.data), len(local.news)
        INPUTS[name](connection)
        self.path.append(name)
        if was_closed and (len(self.tunnel.packets) > packets or len(self.tunnel.data) > data):
            self._add("a closed connection sent a packet")
        if was_closed and [each for each in local.news[news:] if each not in ("pause", "resume")]:
            self._add(f"a closed connection told its local side {local.news[news:]}")
        if local.news.count("end") > 1 or sum(each.startswith(("close", "abort")) for each in local.news) > 1:
            self._add(f"the local side was told an end twice: {local.news}")
        ended = {"end", "close"} & set(local.news)
        peer_ended = {"peer end", "peer closes", "expired", "peer stop"} & set(self.path)
        own_end = {"local end", "local gone"} & set(self.path)
        if ended and not peer_ended and not own_end:
            self._add(f"a clean end that nobody sent: {local.news}")
        memory = self.tunnel.memory
        if connection.closed and (memory.used or memory.budget.grown or memory.budget.stalled):
            self._add(f"memory is booked for a closed connection: {memory.used}")
        if memory.used < 0 or memory.budget.backlog < 0:
            self._add("an account of memory is negative")

    def _add(self, text: str) -> None:
        self.problems.append(f"{text}; after {', '.join(self.path)}")

    def key(self) -> tuple[Any, ...]:
        connection = self.connection
        out, into = connection.outbound, connection.inbound
        return (
            connection.state,
            connection._gone,
            *(min(out.credit, 20), min(out.queued, 9), out.ended, out._stopped, out.paused),
            *(min(into.granted, 20), into._discarding, into._ended),
            tuple(sorted(set(self.local.news))),
        )


def walk(dialect: str, depth: int = DEPTH) -> Found:
    """Visit every state of one dialect that at most `depth` inputs reach."""
    found = Found()
    seen = set()
    waiting: list[tuple[str, ...]] = [()]
    while waiting and len(found.broken) < 3:
        path = waiting.pop(0)
        found.states += 1
        for name in _inputs(dialect):
            system = _System(dialect)
            for each in (*path, name):
                system.take(each)
            found.transitions += 1
            found.broken += system.problems
            key = system.key()
            if key not in seen and len(path) + 1 < depth:
                seen.add(key)
                waiting.append((*path, name))
    return found


def _inputs(dialect: str) -> Iterator[str]:
    left_out = _REFERENCE_ONLY if dialect == "extension" else _EXTENSION_ONLY
    return (name for name in INPUTS if name not in left_out)

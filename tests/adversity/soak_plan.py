"""What a soak does, and when: all that is left to chance, drawn from a seed. Pure: the same seed, the same run."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

SURVIVORS = ("agent-0", "agent-1")  # behind lines that go wrong; never killed
VICTIM = "agent-2"
LINE_FAULTS = ("delay", "throttle", "hold", "lose", "garble", "cut", "refuse")
LONGEST_S = 25.0  # of a fault: longer than it takes to give a silent peer up
KINDS = ("echo", "echo", "upload", "download", "abort", "refused", "idle")
FRONTENDS = (("http-connect", True), ("http-connect", False), ("grpc", True), ("grpc", False))
LARGEST = 1 << 20


class Step(NamedTuple):
    """One fault: after a pause something happens to somebody, and some time later it is over."""

    pause_s: float
    fault: str
    whom: str
    lasts_s: float
    detail: str  # a direction, or how


class Deed(NamedTuple):
    """One thing that a client does."""

    kind: str
    mode: str
    unix: bool
    size: int
    pause_s: float  # before it


def steps(seed: int, seconds: float) -> Iterator[Step]:
    """Faults, one after the other, that fit into so much time."""
    random, left = Random(f"{seed} faults"), seconds
    while True:
        fault = random.choice((*LINE_FAULTS, "stop", "stop server", "kill"))
        whom = {"kill": VICTIM, "stop server": "server"}.get(fault) or random.choice(SURVIVORS)
        most = 2.0 if fault == "stop server" else min(LONGEST_S, max(seconds / 8, 1.0))
        detail = random.choice(("reset", "end") if fault == "cut" else ("out", "back", "both"))
        step = Step(round(random.uniform(0.3, 2.0), 2), fault, whom, round(random.uniform(0.5, most), 2), detail)
        left -= step.pause_s + step.lasts_s
        if left < 0:
            return
        yield step


def deeds(seed: int, worker: int) -> Iterator[Deed]:
    """What one client does, without an end."""
    random = Random(f"{seed} worker {worker}")
    while True:
        kind = random.choice(KINDS)
        # asyncio's TLS cannot end one direction only, and an upload is over when its direction is.
        mode, unix = random.choice([each for each in FRONTENDS if kind != "upload" or each != ("http-connect", False)])
        yield Deed(kind, mode, unix, int(LARGEST ** random.random()), round(random.uniform(0.0, 0.2), 3))

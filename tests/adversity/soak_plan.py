"""Random plan of a soak: faults and deeds drawn from a seed, so that the same seed repeats the same run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

SURVIVORS = ("agent-0", "agent-1")  # agents behind faulty lines; never killed
VICTIM = "agent-2"
LINE_FAULTS = ("delay", "throttle", "hold", "lose", "garble", "cut", "refuse")
LONGEST_S = 25.0  # longest fault: longer than the timeout of a silent peer
KINDS = ("echo", "echo", "upload", "download", "abort", "refused", "idle")
FRONTENDS = (("http-connect", True), ("http-connect", False), ("grpc", True), ("grpc", False))
LARGEST = 1 << 20


class Step(NamedTuple):
    """One fault: the pause before it, its kind, its victim and its duration."""

    pause_s: float
    fault: str
    whom: str
    lasts_s: float
    detail: str  # direction or kind of the fault


class Deed(NamedTuple):
    """One action of a client."""

    kind: str
    mode: str
    unix: bool
    size: int
    pause_s: float  # pause before the action


def steps(seed: int, seconds: float) -> Iterator[Step]:
    """Yield successive faults that fit into `seconds`."""
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
    """Yield the actions of one client without end."""
    random = Random(f"{seed} worker {worker}")
    while True:
        kind = random.choice(KINDS)
        # An upload ends by a half-close, which asyncio's TLS does not support.
        mode, unix = random.choice([each for each in FRONTENDS if kind != "upload" or each != ("http-connect", False)])
        yield Deed(kind, mode, unix, int(LARGEST ** random.random()), round(random.uniform(0.0, 0.2), 3))

"""Plan of a run: the programs, and the operations and faults with their times, drawn from a seed.

A plan is data: it can be stored as JSON, repeated, and made shorter by leaving operations out. How its programs are
scheduled and how the network behaves is drawn from the seed as well, but apart from the plan.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, NamedTuple

SECONDS = 40.0  # in which operations begin
TARGETS = ("echo", "echo", "echo", "source", "source", "sink", "answer", "answer", "refuse", "silent", "reset")
SIZES = (0, 1, 700, 5_000, 70_000, 300_000, 1_500_000)
FRONTENDS = ("connect unix", "grpc unix", "connect tls", "grpc tls")
SERVER_FLAGS = (
    (),
    (),
    ("--konnectivity-extension=false",),
    ("--heartbeat-interval=2s",),
    ("--process-buffer-budget=2Mi", "--connection-window-max=128Ki"),
    ("--connection-window-max=256Ki",),
)
AGENT_FLAGS = (
    (),
    (),
    (),
    ("--konnectivity-extension=false",),
    ("--heartbeat-interval=2s",),
    ("--process-buffer-budget=2Mi",),
    ("--sync-forever",),
)
# What a plan may contain besides conversations, and how often such a plan is drawn.
MOODS = (
    ("calm", 3),
    ("agents", 3),
    ("lines", 4),
    ("processes", 3),
    ("all", 5),
)
TENANCY_SHARE = 0.2  # part of the plans whose servers have tenants
LINE_FAULTS = ("silence", "one-way", "reset", "closed", "forgotten", "slow", "far")
PROCESS_FAULTS = ("freeze", "kill", "terminate")


class Operation(NamedTuple):
    """One thing that happens: its moment, its kind and its arguments."""

    at: float
    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Everything that a run does.

    Attributes:
        seed: of the schedule and the network.
        servers: flags of each server.
        agents: flags of each agent.
        peers: whether the servers know each other.
        leases: whether servers publish leases, which agents count.
        operations: in the order of their times.
        tenants: number of tenants of each server; 0: each serves one cluster.

    """

    seed: int
    servers: tuple[tuple[str, ...], ...]
    agents: tuple[tuple[str, ...], ...]
    peers: bool
    leases: bool
    operations: tuple[Operation, ...]
    tenants: int = 0

    def without(self, left_out: set[int]) -> Plan:
        """Return the plan without the operations of these places."""
        kept = tuple(each for place, each in enumerate(self.operations) if place not in left_out)
        return replace(self, operations=kept)

    @property
    def kinds(self) -> set[str]:
        """Return the kinds of its faults."""
        return {each.kind for each in self.operations} - {"dial"}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Plan:
        found = json.loads(text)
        return Plan(
            found["seed"],
            tuple(map(tuple, found["servers"])),
            tuple(map(tuple, found["agents"])),
            found["peers"],
            found["leases"],
            tuple(Operation(*each) for each in found["operations"]),
            found.get("tenants", 0),
        )


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    chance = Random(f"plan {seed}")
    mood = chance.choices([name for name, _ in MOODS], [weight for _, weight in MOODS])[0]
    servers = tuple(chance.choice(SERVER_FLAGS) for _ in range(chance.choice((1, 1, 2, 3))))
    agents = tuple(chance.choice(AGENT_FLAGS) for _ in range(chance.randint(2 if mood == "agents" else 1, 3)))
    if mood in ("calm", "agents") and chance.random() < 0.7:  # the promises that hold for programs without flags
        servers, agents = ((),) * len(servers), ((),) * len(agents)
    seconds = chance.choice((5.0, 15.0, SECONDS))
    leases = mood in ("processes", "all") and chance.random() < 0.3
    operations = [_dial(chance, seconds, len(servers)) for _ in range(chance.choice((3, 10, 25)))]
    for _ in range(0 if mood == "calm" else chance.choice((1, 2, 4, 8))):
        if leases and chance.random() < 0.4:
            operations.append(_api_fault(chance, seconds))
        else:
            operations.append(_fault(chance, mood, seconds, len(servers), len(agents)))
    operations.sort(key=lambda each: each.at)
    peers = len(servers) > 1 and chance.random() < 0.4
    plan = Plan(seed, servers, agents, peers, leases, tuple(operations))
    tenancy = Random(f"tenants {seed}")
    return _with_tenants(plan, tenancy) if tenancy.random() < TENANCY_SHARE else plan


def _with_tenants(plan: Plan, chance: Random) -> Plan:
    """Return a plan in which each server serves two or three tenants, which come and go if the plan has faults."""
    tenants = chance.choice((2, 2, 3))
    kept = (each for each in plan.operations if each.arguments.get("program") != "api")
    operations = [
        each._replace(arguments={**each.arguments, "tenant": chance.randrange(tenants)})
        if each.kind == "dial"
        else each
        for each in kept
    ]
    for _ in range(chance.choice((0, 1, 3)) if plan.kinds else 0):
        arguments = {"tenant": chance.randrange(tenants), "seconds": chance.choice((2.0, 12.0))}
        moment = round(SECONDS * chance.random(), 3)
        operations.append(Operation(moment, chance.choice(("remove tenant", "change tenant")), arguments))
    operations.sort(key=lambda each: each.at)
    agents = plan.agents + ((),) * (tenants - len(plan.agents))
    return replace(plan, agents=agents, leases=False, operations=tuple(operations), tenants=tenants)


def _dial(chance: Random, seconds: float, servers: int) -> Operation:
    stalls = chance.random() < 0.2
    target = chance.choice(TARGETS)
    arguments = {
        "server": chance.randrange(servers),
        "frontend": chance.choice(FRONTENDS),
        "target": target,
        "up": chance.choice(SIZES),
        "down": chance.choice(SIZES),
        "pieces": chance.choice((1, 3, 20)),
        "pause_s": chance.choice((0.0, 0.0, 0.01, 0.5)),
        "stall_s": chance.choice((3.0, 15.0, 40.0)) if stalls else 0.0,
        "stall_target": chance.random() < 0.5,
        "half_close": target in ("sink", "answer", "silent") or chance.random() < 0.8,
    }
    return Operation(round(seconds * chance.random(), 3), "dial", arguments)


def _api_fault(chance: Random, seconds: float) -> Operation:
    kind = chance.choice(("freeze", "kill", "slow api", "stale api"))
    arguments = {"program": "api", "seconds": chance.choice((1.0, 12.0, 40.0))}
    return Operation(round(seconds * chance.random(), 3), kind, arguments)


def _fault(chance: Random, mood: str, seconds: float, servers: int, agents: int) -> Operation:
    at = round(seconds * chance.random(), 3)
    server, agent = chance.randrange(servers), chance.randrange(agents)
    lasts = chance.choice((0.2, 1.0, 5.0, 12.0, 30.0))
    if mood == "agents":  # the first one is always there
        program = f"agent-{chance.randrange(1, agents)}"
        return Operation(at, chance.choice(PROCESS_FAULTS), {"program": program, "seconds": lasts})
    if mood == "lines" or (mood == "all" and chance.random() < 0.6):
        a, b = chance.choice(
            (
                (f"server-{server}", f"agent-{agent}"),
                (f"server-{server}", f"agent-{agent}"),
                (f"server-{server}", f"client-server-{server}-tls"),
                (f"agent-{agent}", "targets"),
                (f"server-{server}", f"server-{chance.randrange(servers)}"),
            )
        )
        return Operation(at, chance.choice(LINE_FAULTS), {"a": a, "b": b, "seconds": lasts})
    program = f"server-{server}" if chance.random() < 0.4 else f"agent-{agent}"
    return Operation(at, chance.choice(PROCESS_FAULTS), {"program": program, "seconds": lasts})

"""Which agent gets a dial: `default`, `destHost` and `defaultRoute`, asked in the order configured. Pure.

Among the agents that a strategy allows, the lighter of two drawn at random is taken: nearly as good as the lightest of
all, without everybody running to the same one ("The power of two choices", Mitzenmacher 2001).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from konnectivity.net.addresses import host_of
from konnectivity_server.registry import A, Registry

NAMES = ("default", "destHost", "defaultRoute")


def candidates(name: str, registry: Registry[A], address: str) -> Sequence[A]:
    """Agents that a strategy allows for an address."""
    if name == "destHost":
        return registry.at(host_of(address))
    if name == "defaultRoute":
        return registry.default_routes()
    return registry.all()


def pick(
    strategies: Sequence[str], registry: Registry[A], address: str, random: Random, tried: Collection[object] = ()
) -> A | None:
    """The agent for an address; None if no strategy has one that is ready and was not tried."""
    for name in strategies:
        chosen = _lighter(candidates(name, registry, address), random, tried)
        if chosen is not None:
            return chosen
    return None


def last_resort(
    strategies: Sequence[str], registry: Registry[A], address: str, random: Random, tried: Collection[object] = ()
) -> A | None:
    """Return an agent when none is ready; None if every one was tried.

    An agent that is new or declines is better than one that drains or is full, and that is better than a silent one.
    """
    for name in strategies:
        allowed = [agent for agent in candidates(name, registry, address) if agent not in tried]
        if allowed:
            alive = [agent for agent in allowed if not agent.suspect]
            staying = [agent for agent in alive if not (agent.draining or agent.exhausted)]
            return random.choice(staying or alive or allowed)
    return None


def _lighter(allowed: Sequence[A], random: Random, tried: Collection[object]) -> A | None:
    if not allowed:
        return None
    count = len(allowed)
    drawn = [allowed[int(random.random() * count)] for _ in range(2 if count > 1 else 1)]
    if not all(_usable(agent, tried) for agent in drawn):
        usable = [agent for agent in allowed if _usable(agent, tried)]
        if not usable:
            return None
        drawn = [random.choice(usable), random.choice(usable)]
    return min(drawn, key=lambda agent: agent.load)


def _usable(agent: A, tried: Collection[object]) -> bool:
    unfit = agent.draining or agent.exhausted or agent.suspect or agent.duplicate or agent.declining
    return not unfit and agent not in tried


def size(name: str, registry: Registry[A]) -> int:
    """How many keys a strategy can choose from: agent ids, or for `destHost` the addresses that agents stand for."""
    if name == "destHost":
        return registry.addresses
    return len({agent.agent_id for agent in candidates(name, registry, "")})


def ready(name: str, registry: Registry[A]) -> int:
    """Return how many of these keys have an agent that answers pings."""
    if name == "destHost":
        return registry.answering_addresses
    return len({agent.agent_id for agent in candidates(name, registry, "") if not agent.suspect})


def answers(name: str, registry: Registry[A]) -> bool:
    """Whether a strategy has an agent that is not silent."""
    agents = registry.all() if name == "destHost" and registry.addresses else candidates(name, registry, "")
    return any(not agent.suspect for agent in agents)


def parse(text: str) -> list[str]:
    """Strategy names of a comma list.

    Raises:
        ValueError: none, or an unknown one.

    """
    names = [name for name in (item.strip() for item in text.split(",")) if name]
    if not names:
        raise ValueError("ProxyStrategies cannot be empty")
    for name in names:
        if name not in NAMES:
            raise ValueError(f"unknown proxy strategy: {name} (known: {', '.join(NAMES)})")
    return names

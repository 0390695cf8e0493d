"""Choice of the agent for a dial: strategies `default`, `destHost` and `defaultRoute`, in the configured order. Pure.

Among the agents that a strategy allows, the less loaded of two drawn at random is taken. That is nearly as good as the
least loaded of all, and does not send all dials to the same agent ("The power of two choices", Mitzenmacher 2001).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from konnectivity.net.addresses import host_of
from konnectivity_server.registry import A, Registry

NAMES = ("default", "destHost", "defaultRoute")


def candidates(name: str, registry: Registry[A], address: str) -> Sequence[A]:
    """Return the agents that a strategy allows for an address."""
    if name == "destHost":
        return registry.at(host_of(address))
    if name == "defaultRoute":
        return registry.default_routes()
    return registry.all()


def pick(
    strategies: Sequence[str], registry: Registry[A], address: str, random: Random, tried: Collection[object] = ()
) -> A | None:
    """Return the agent for an address; None if no strategy has an agent that is ready and was not tried."""
    for name in strategies:
        allowed = candidates(name, registry, address)
        if allowed:
            chosen = _less_loaded(allowed, random, tried)
            if chosen is not None:
                return chosen
    return None


def last_resort(
    strategies: Sequence[str], registry: Registry[A], address: str, random: Random, tried: Collection[object] = ()
) -> A | None:
    """Return an agent when none is ready; None if every agent was tried.

    An agent that is new or declines is better than one that drains or is full, and that is better than a silent one.
    """
    for name in strategies:
        allowed = [agent for agent in candidates(name, registry, address) if agent not in tried]
        if allowed:
            alive = [agent for agent in allowed if not agent.suspect]
            staying = [agent for agent in alive if not (agent.draining or agent.exhausted)]
            return random.choice(staying or alive or allowed)
    return None


def _less_loaded(allowed: Sequence[A], random: Random, tried: Collection[object]) -> A | None:
    """Return the less loaded of two agents drawn at random among those that are usable and were not tried."""
    count = len(allowed)
    one = other = allowed[int(random.random() * count)]
    if count > 1:
        other = allowed[int(random.random() * count)]
    if not one.usable or one in tried or (other is not one and (not other.usable or other in tried)):
        usable = [agent for agent in allowed if agent.usable and agent not in tried]
        if not usable:
            return None
        one, other = random.choice(usable), random.choice(usable)
    return one if one is other or one.load <= other.load else other


def size(name: str, registry: Registry[A]) -> int:
    """Return the number of keys a strategy can choose from: agent ids, or for `destHost` addresses of agents."""
    if name == "destHost":
        return registry.addresses
    return len({agent.agent_id for agent in candidates(name, registry, "")})


def ready(name: str, registry: Registry[A]) -> int:
    """Return how many of these keys have an agent that answers pings."""
    if name == "destHost":
        return registry.answering_addresses
    return len({agent.agent_id for agent in candidates(name, registry, "") if not agent.suspect})


def answers(name: str, registry: Registry[A]) -> bool:
    """Return whether a strategy has an agent that answers pings."""
    agents = registry.all() if name == "destHost" and registry.addresses else candidates(name, registry, "")
    return any(not agent.suspect for agent in agents)


def parse(text: str) -> list[str]:
    """Return the strategy names in a comma-separated list.

    Raises:
        ValueError: the list is empty or has an unknown name.

    """
    names = [name for name in (item.strip() for item in text.split(",")) if name]
    if not names:
        raise ValueError("ProxyStrategies cannot be empty")
    for name in names:
        if name not in NAMES:
            raise ValueError(f"unknown proxy strategy: {name} (known: {', '.join(NAMES)})")
    return names

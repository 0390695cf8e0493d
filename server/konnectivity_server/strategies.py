"""Which agent gets a dial: `default`, `destHost` and `defaultRoute`, asked in the order configured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from konnectivity.destination import host_of
from konnectivity_server.registry import A, Registry

NAMES = ("default", "destHost", "defaultRoute")


def candidates(name: str, registry: Registry[A], address: str) -> list[A]:
    """Agents that a strategy allows for an address."""
    if name == "destHost":
        return registry.at(host_of(address))
    if name == "defaultRoute":
        return registry.default_routes()
    return registry.all()


def pick(strategies: Sequence[str], registry: Registry[A], address: str, random: Random) -> A | None:
    """The agent for an address; None if no strategy has one.

    Agents that drain, or whose buffers are full, are used only when no strategy has another.
    """
    fallback: A | None = None
    for name in strategies:
        found = candidates(name, registry, address)
        live = [agent for agent in found if not (agent.draining or agent.exhausted)]
        if live:
            return random.choice(live)
        if found and fallback is None:
            fallback = random.choice(found)
    return fallback


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

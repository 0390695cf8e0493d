"""Which agents are connected. Pure: it keeps them and finds them, and never talks to them."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from konnectivity_server.identifiers import Identifiers


class Agent(Protocol):
    """One agent's stream, as far as choosing one is concerned."""

    agent_id: str
    identifiers: Identifiers

    @property
    def draining(self) -> bool: ...

    @property
    def exhausted(self) -> bool: ...


A = TypeVar("A", bound=Agent)


class Registry(Generic[A]):
    """All connected agents, in the order they came. One agent id may have several streams."""

    def __init__(self) -> None:
        self._agents: dict[A, None] = {}
        self._by_address: dict[str, dict[A, None]] = {}

    def add(self, agent: A) -> None:
        self._agents[agent] = None
        for address in agent.identifiers.addresses:
            self._by_address.setdefault(address, {})[agent] = None

    def remove(self, agent: A) -> None:
        self._agents.pop(agent, None)
        for address in agent.identifiers.addresses:
            agents = self._by_address.get(address)
            if agents is not None:
                agents.pop(agent, None)
                if not agents:
                    del self._by_address[address]

    def __len__(self) -> int:
        return len(self._agents)

    def all(self) -> list[A]:
        return list(self._agents)

    def at(self, address: str) -> list[A]:
        """Agents that stand for this address."""
        return list(self._by_address.get(address, ()))

    def default_routes(self) -> list[A]:
        return [agent for agent in self._agents if agent.identifiers.default_route]

"""Registry of connected agents, with indexes by address and network. Pure.

Owns the indexes. Does not talk to agents, and does not choose among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Generic, Protocol, TypeVar

from konnectivity.untrusted.bounded_map import BoundedMap
from konnectivity_server.agents.agent_identifiers import MAX_LENGTH, Identifiers

MAX_SPELLINGS = 65_536
MAX_SPELLING_BYTES = 16 * 1024 * 1024

_spellings: BoundedMap[str, str] = BoundedMap(MAX_SPELLINGS, MAX_SPELLING_BYTES)  # canonical, by the spelling received


class Backend(Protocol):
    """Agent stream as the strategies see it, which choose one for a dial."""

    agent_id: str
    identifiers: Identifiers

    @property
    def usable(self) -> bool:
        """Return whether a dial may be asked of the agent while others are usable, too."""

    @property
    def draining(self) -> bool:
        """Return whether the agent said that it leaves."""

    @property
    def exhausted(self) -> bool:
        """Return whether the agent has no room for more."""

    @property
    def suspect(self) -> bool:
        """Return whether the agent does not answer pings."""

    @property
    def load(self) -> float:
        """Load for comparison with other agents."""


A = TypeVar("A", bound=Backend)
K = TypeVar("K")


class Group(Generic[A]):
    """Agents in a list and a dict: each is added, removed and found by its place in constant time."""

    __slots__ = ("_places", "members")

    def __init__(self) -> None:
        self.members: list[A] = []
        self._places: dict[A, int] = {}

    def add(self, agent: A) -> None:
        """Add an agent, once."""
        if agent not in self._places:
            self._places[agent] = len(self.members)
            self.members.append(agent)

    def remove(self, agent: A) -> None:
        """Remove an agent, if the group has it."""
        place = self._places.pop(agent, None)
        if place is None:
            return
        last = self.members.pop()
        if last is not agent:
            self.members[place] = last
            self._places[last] = place


class Index(Generic[K, A]):
    """Agents by key. A key with one agent takes one entry of a dict and no object."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[K, A | Group[A]] = {}

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._found)

    def add(self, key: K, agent: A) -> None:
        """Add an agent under `key`, once."""
        there = self._found.setdefault(key, agent)
        if isinstance(there, Group):
            there.add(agent)
        elif there is not agent:
            group = self._found[key] = Group[A]()
            group.add(there)
            group.add(agent)

    def remove(self, key: K, agent: A) -> None:
        """Remove an agent under `key`, if it is there."""
        there = self._found.get(key)
        if isinstance(there, Group):
            there.remove(agent)
            if not there.members:
                del self._found[key]
        elif there is agent:
            del self._found[key]

    def at(self, key: K) -> Sequence[A]:
        """Return the agents under `key`."""
        there = self._found.get(key)
        if there is None:
            return ()
        return there.members if isinstance(there, Group) else (there,)

    def __iter__(self) -> Iterator[Sequence[A]]:
        """Yield the agents of each key."""
        return (each.members if isinstance(each, Group) else (each,) for each in self._found.values())


Kind = tuple[int, int]  # IP version, prefix length


class Registry(Generic[A]):
    """All connected agent streams. One agent id may have several."""

    def __init__(self) -> None:
        self._all: Group[A] = Group()
        self._default_routes: Group[A] = Group()
        self._by_address: Index[str, A] = Index()
        self._by_network: dict[Kind, Index[int, A]] = {}
        # Kept from the registration: to read the identifiers again would take ten times as long as the removal.
        self._keys_of: dict[A, tuple[list[str], list[tuple[Kind, int]]]] = {}

    def add(self, agent: A) -> None:
        """Register an agent, once."""
        if agent in self._keys_of:
            return
        addresses, networks = list(map(canonical, agent.identifiers.addresses)), _networks(agent.identifiers)
        self._keys_of[agent] = addresses, networks
        self._all.add(agent)
        if agent.identifiers.default_route:
            self._default_routes.add(agent)
        for address in addresses:
            self._by_address.add(address, agent)
        for kind, network in networks:
            self._by_network.setdefault(kind, Index()).add(network, agent)

    def remove(self, agent: A) -> None:
        """Remove an agent, if it is registered."""
        addresses, networks = self._keys_of.pop(agent, ((), ()))
        self._all.remove(agent)
        self._default_routes.remove(agent)
        for address in addresses:
            self._by_address.remove(address, agent)
        for kind, network in networks:
            index = self._by_network.get(kind)
            if index is not None:
                index.remove(network, agent)
                if not index:
                    del self._by_network[kind]

    def __len__(self) -> int:
        """Return the number of agent streams."""
        return len(self._all.members)

    @property
    def addresses(self) -> int:
        """Number of different addresses and networks that the agents stand for."""
        return len(self._by_address) + sum(map(len, self._by_network.values()))

    @property
    def answering_addresses(self) -> int:
        """Number of addresses and networks that have an agent which answers pings."""
        groups = chain(self._by_address, *self._by_network.values())
        return sum(any(not agent.suspect for agent in group) for group in groups)

    def all(self) -> Sequence[A]:
        """Return all agents. The caller must neither change nor keep the sequence."""
        return self._all.members

    def at(self, host: str) -> Sequence[A]:
        """Return the agents that stand for a host: by its address or name, else by the longest prefix of it."""
        found = self._by_address.at(canonical(host))
        if found:
            return found
        if not self._by_network:
            return ()
        address = _address(host)
        if address is None:
            return ()
        bits, number = address.max_prefixlen, int(address)
        for version, length in sorted(self._by_network, key=lambda kind: -kind[1]):
            if version == address.version:
                found = self._by_network[version, length].at(number >> (bits - length))
                if found:
                    return found
        return ()

    def default_routes(self) -> Sequence[A]:
        """Return the agents with a default route. The caller must neither change nor keep the sequence."""
        return self._default_routes.members


def canonical(host: str) -> str:
    """Return the spelling of an address (IPv6 shortened, IPv4-mapped as IPv4) or name (lower case, no final dot)."""
    if not _may_be_address(host):
        return host.lower().rstrip(".")
    found = _spellings.get(host)
    if found is None:
        address = _address(host)
        found = str(address) if address is not None else host.lower().rstrip(".")
        if len(host) <= MAX_LENGTH:
            _spellings[host] = found
    return found


def _may_be_address(host: str) -> bool:
    """Return whether `host` may be an IP address; a certain answer takes some ten times as long."""
    return ":" in host or "0" <= host.rstrip("]")[-1:] <= "9"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _networks(identifiers: Identifiers) -> list[tuple[tuple[int, int], int]]:
    """Return ((IP version, prefix length), network number) of each valid `cidr`."""
    found: list[tuple[tuple[int, int], int]] = []
    for text in identifiers.cidr:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found.append(((network.version, network.prefixlen), number))
    return found

"""Which agents are connected. Pure: it keeps them and finds them, and never talks to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Generic, Protocol, TypeVar

from konnectivity.untrusted.bounded_map import BoundedMap
from konnectivity_server.agents.agent_identifiers import MAX_LENGTH, Identifiers

MAX_SPELLINGS = 65_536
MAX_SPELLING_BYTES = 16 * 1024 * 1024

_spellings: BoundedMap[str, str] = BoundedMap(MAX_SPELLINGS, MAX_SPELLING_BYTES)  # canonical ones, by what was said


class Backend(Protocol):
    """One agent's stream, as far as choosing one is concerned."""

    agent_id: str
    identifiers: Identifiers

    @property
    def draining(self) -> bool: ...

    @property
    def exhausted(self) -> bool: ...

    @property
    def suspect(self) -> bool: ...

    @property
    def duplicate(self) -> bool: ...

    @property
    def declining(self) -> bool: ...

    @property
    def load(self) -> float: ...


A = TypeVar("A", bound=Backend)
K = TypeVar("K")


class Group(Generic[A]):
    """Agents among which one is chosen: add, remove and look at the n-th, each in constant time."""

    __slots__ = ("_places", "members")

    def __init__(self) -> None:
        self.members: list[A] = []
        self._places: dict[A, int] = {}

    def add(self, agent: A) -> None:
        if agent not in self._places:
            self._places[agent] = len(self.members)
            self.members.append(agent)

    def remove(self, agent: A) -> None:
        place = self._places.pop(agent, None)
        if place is None:
            return
        last = self.members.pop()
        if last is not agent:
            self.members[place] = last
            self._places[last] = place


class Index(Generic[K, A]):
    """Agents by a key. An agent that is alone under its key takes no more than an entry of a dict."""

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
    """All connected agents. One agent id may have several streams."""

    def __init__(self) -> None:
        self._all: Group[A] = Group()
        self._default_routes: Group[A] = Group()
        self._by_address: Index[str, A] = Index()
        self._by_network: dict[Kind, Index[int, A]] = {}
        # As they were when the agent came: reading them again would take ten times as long as removing them.
        self._keys_of: dict[A, tuple[list[str], list[tuple[Kind, int]]]] = {}

    def add(self, agent: A) -> None:
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
        return len(self._all.members)

    @property
    def addresses(self) -> int:
        """How many different addresses and networks the agents stand for."""
        return len(self._by_address) + sum(map(len, self._by_network.values()))

    @property
    def answering_addresses(self) -> int:
        """Return the number of addresses and networks that an agent stands for which answers pings."""
        groups = chain(self._by_address, *self._by_network.values())
        return sum(any(not agent.suspect for agent in group) for group in groups)

    def all(self) -> Sequence[A]:
        """Not to be changed, nor kept."""
        return self._all.members

    def at(self, host: str) -> Sequence[A]:
        """Agents that stand for this host: by its address or name, else by the longest prefix that holds it."""
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
    """Return whether it is worth a closer look, which takes some ten times as long, whether `host` is an IP address."""
    return ":" in host or "0" <= host.rstrip("]")[-1:] <= "9"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _networks(identifiers: Identifiers) -> list[tuple[tuple[int, int], int]]:
    """((IP version, prefix length), network number) of each `cidr`. One that is none is left out."""
    found: list[tuple[tuple[int, int], int]] = []
    for text in identifiers.cidr:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found.append(((network.version, network.prefixlen), number))
    return found

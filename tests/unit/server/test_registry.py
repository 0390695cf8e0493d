"""Registry of agents with many identifiers: addition, removal and the entries left behind."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.registry import Registry, canonical


@dataclass(eq=False)
class Agent:
    identifiers: Identifiers
    agent_id: str = "a"
    suspect: bool = False
    load: float = field(default=0.0)


def agents(count, each):
    return [Agent(Identifiers(host=tuple(f"Host-{n}-{m}.example." for m in range(each)))) for n in range(count)]


def test_agents_that_share_addresses_come_and_go_in_any_order():
    registry = Registry()
    a, b, c = (Agent(Identifiers(host=("X.", "shared"), ipv4=("10.0.0.1",), cidr=("10.1.0.0/16",))) for _ in range(3))
    for each in (a, b, c, b):
        registry.add(each)
    assert len(registry) == 3
    assert list(registry.at("x")) == list(registry.at("::ffff:10.0.0.1")) == list(registry.at("10.1.2.3")) == [a, b, c]
    assert registry.addresses == registry.answering_addresses == 4
    registry.remove(a)
    registry.remove(a)
    assert set(registry.at("shared.")) == {b, c}
    b.suspect = c.suspect = True
    assert registry.answering_addresses == 0
    registry.remove(c)
    assert list(registry.at("10.1.2.3")) == [b]
    registry.remove(b)
    assert registry.addresses == len(registry) == 0
    assert not registry.at("x")
    assert not registry.at("10.1.2.3")


def test_an_address_of_one_agent_takes_no_object_of_its_own():
    """400,000 containers delayed the event loop by a second, because the garbage collector visits each one."""
    registry, crowd = Registry(), agents(100, 256)
    gc.collect()
    before = len(gc.get_objects())
    for each in crowd:
        registry.add(each)
    gc.collect()
    assert len(gc.get_objects()) - before < 1000
    for each in crowd:
        registry.remove(each)
    assert registry.addresses == 0


def test_spellings():
    said = ["[::FFFF:10.0.0.1]", "[10.0.0.1]", "FE80::0:1%eth0", "Name.", "name.7", "1.2.3", "²", "a:b", ""]
    known = ["10.0.0.1", "10.0.0.1", "fe80::1%eth0", "name", "name.7", "1.2.3", "²", "a:b", ""]
    assert [canonical(each) for each in said] == known

"""Choice of an agent: identifiers, registry and strategies together."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity_server import strategies
from konnectivity_server.agents import agent_identifiers
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.registry import Registry


@dataclass(eq=False)
class Agent:
    agent_id: str
    identifiers: Identifiers
    draining: bool = False
    exhausted: bool = False
    suspect: bool = False
    duplicate: bool = False
    declining: bool = False
    load: float = 1.0

    @property
    def usable(self) -> bool:
        return not (self.draining or self.exhausted or self.suspect or self.duplicate or self.declining)


def registry_of(*agents: Agent) -> Registry[Agent]:
    registry: Registry[Agent] = Registry()
    for agent in agents:
        registry.add(agent)
    return registry


def agent(name: str, text: str = "") -> Agent:
    return Agent(name, agent_identifiers.parse(text))


def picked(names: str, registry: Registry[Agent], address: str) -> set[str]:
    random = Random(1)
    parsed = strategies.parse(names)
    found = [
        strategies.pick(parsed, registry, address, random) or strategies.last_resort(parsed, registry, address, random)
        for _ in range(200)
    ]
    return {one.agent_id for one in found if one is not None}


def test_default_spreads_over_all_agents():
    registry = registry_of(agent("a"), agent("b"), agent("c"))
    assert picked("default", registry, "10.0.0.1:80") == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:10250", {"four"}),
        ("[fd00::1]:443", {"six"}),
        ("fd00::1", {"six"}),
        ("node-1:443", {"named"}),
        ("node-2:443", set()),
    ],
)
def test_dest_host_takes_the_agent_that_stands_for_the_host(address, expected):
    registry = registry_of(
        agent("four", "ipv4=10.0.0.1"), agent("six", "ipv6=fd00%3A%3A1"), agent("named", "host=node-1")
    )
    assert picked("destHost", registry, address) == expected


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("ipv6=FD00:0:0::1", "[fd00::1]:443"),
        ("host=fd00:0:0:0:0:0:0:1", "fd00::1"),
        ("ipv4=10.0.0.1", "[::ffff:10.0.0.1]:443"),
        ("ipv6=::ffff:10.0.0.1", "10.0.0.1:443"),
        ("host=Node-1.Example.", "node-1.example:443"),
        ("host=node-1", "NODE-1:443"),
        ("ipv4=${HOST_IP}", "${HOST_IP}:443"),
    ],
)
def test_addresses_are_compared_as_addresses_and_names_without_case(said, asked):
    assert picked("destHost", registry_of(agent("it", said), agent("other", "host=other")), asked) == {"it"}


def test_the_longest_prefix_wins_and_an_address_beats_any():
    registry = registry_of(
        agent("wide", "cidr=10.0.0.0/8"),
        agent("near", "cidr=10.1.0.0/16&cidr=fd00:1::/32"),
        agent("host", "ipv4=10.1.2.3"),
        agent("all", "cidr=0.0.0.0/0"),
        agent("broken", "cidr=10.1.0.0/99"),
    )
    for address, expected in {
        "10.1.2.3:1": "host",
        "10.1.2.4:1": "near",
        "[::ffff:10.1.2.4]:1": "near",
        "10.2.0.1:1": "wide",
        "192.0.2.1:1": "all",
        "[fd00:1::5]:1": "near",
    }.items():
        assert picked("destHost", registry, address) == {expected}
    assert picked("destHost", registry, "[fd00:2::5]:1") == set()
    assert picked("destHost", registry, "name:1") == set()


def test_a_network_that_nobody_stands_for_any_more_is_forgotten():
    one = agent("one", "cidr=10.0.0.0/8&ipv4=10.0.0.1")
    registry = registry_of(one)
    assert registry.addresses == 2
    registry.remove(one)
    assert registry.addresses == len(registry) == 0
    assert picked("destHost", registry, "10.1.1.1:1") == set()


def test_the_lighter_of_two_is_taken():
    heavy, light = agent("heavy"), agent("light")
    heavy.load = 10.0
    registry = registry_of(heavy, light)
    random = Random(1)
    found = [strategies.pick(["default"], registry, "x:1", random) for _ in range(400)]
    assert 50 < sum(one is heavy for one in found) < 150  # only when it is drawn twice


def test_an_agent_that_does_not_answer_is_the_last_resort():
    silent, draining = agent("silent"), agent("draining")
    silent.suspect = True
    assert picked("default", registry_of(silent), "x:1") == {"silent"}
    draining.draining = True
    assert picked("default", registry_of(silent, draining), "x:1") == {"draining"}
    assert not strategies.answers("default", registry_of(silent))


def test_a_new_stream_is_a_better_last_resort_than_an_agent_that_leaves():
    """The old stream of a restarted agent drains, and its new stream has not proved to be stable."""
    old, new, silent = agent("a"), agent("a"), agent("b")
    old.draining = new.duplicate = silent.suspect = True
    registry = registry_of(old, new, silent)
    found = [strategies.last_resort(["default"], registry, "x:1", Random(i)) for i in range(50)]
    assert set(found) == {new}
    assert strategies.last_resort(["default"], registry, "x:1", Random(1), [new]) is old
    assert strategies.last_resort(["default"], registry, "x:1", Random(1), [new, old]) is silent
    assert strategies.last_resort(["default"], registry, "x:1", Random(1), [new, old, silent]) is None


def test_a_stream_that_an_agent_opened_in_vain_is_left_alone():
    known, vain = agent("known"), agent("known")
    vain.duplicate = True
    registry = registry_of(known, vain)
    assert {strategies.pick(["default"], registry, "x:1", Random(i)) for i in range(50)} == {known}
    assert picked("default", registry_of(vain), "x:1") == {"known"}


def test_a_second_try_goes_elsewhere_or_nowhere():
    one, two = agent("one"), agent("two")
    registry = registry_of(one, two)
    assert {strategies.pick(["default"], registry, "x:1", Random(i), [one]) for i in range(50)} == {two}
    two.suspect = True
    assert strategies.pick(["default"], registry, "x:1", Random(1), [one]) is None


def test_strategies_are_asked_in_order():
    registry = registry_of(agent("near", "ipv4=10.0.0.1"), agent("gate", "default-route=true"))
    assert picked("destHost,defaultRoute", registry, "10.0.0.1:1") == {"near"}
    assert picked("destHost,defaultRoute", registry, "10.9.9.9:1") == {"gate"}
    assert picked("defaultRoute,destHost", registry, "10.0.0.1:1") == {"gate"}


def test_draining_and_full_agents_come_last():
    one, two, far = agent("one", "host=n"), agent("two", "host=n"), agent("far")
    registry = registry_of(one, two, far)
    one.draining = True
    assert picked("destHost", registry, "n:1") == {"two"}
    two.exhausted = True
    assert picked("destHost", registry, "n:1") == {"one", "two"}
    assert picked("destHost,default", registry, "n:1") == {"far"}


def test_an_agent_that_left_is_not_found():
    one = agent("one", "host=n&host=m&ipv4=10.0.0.1")
    registry = registry_of(one)
    registry.remove(one)
    registry.remove(one)
    assert not registry.all()
    assert len(registry) == 0
    assert picked("destHost,default,defaultRoute", registry, "n:1") == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Identifiers()),
        ("ipv4=10.0.0.1&ipv4=10.0.0.2", Identifiers(ipv4=("10.0.0.1", "10.0.0.2"))),
        ("host=a%20b+c", Identifiers(host=("a b c",))),
        ("ipv4=${HOST_IP}", Identifiers(ipv4=("${HOST_IP}",))),
        ("cidr=10.0.0.0/8&uid=x&default-route=T", Identifiers(cidr=("10.0.0.0/8",), default_route=True)),
        ("default-route=yes", Identifiers()),
        ("default-route=0&default-route=1", Identifiers()),
    ],
)
def test_identifiers(text, expected):
    assert agent_identifiers.parse(text) == expected


@pytest.mark.parametrize("text", ["ipv4=1;2", ";", "host=%zz", "host=%4"])
def test_identifiers_that_are_no_query(text):
    with pytest.raises(ValueError, match=r"semicolon|escape"):
        agent_identifiers.parse(text)


@given(st.text())
def test_any_identifiers_parse_or_are_refused(text):
    try:
        agent_identifiers.parse(text)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(("text", "message"), [("", "cannot be empty"), (",", "cannot be empty"), ("x", "unknown")])
def test_bad_strategies(text, message):
    with pytest.raises(ValueError, match=message):
        strategies.parse(text)


def test_a_silent_agent_is_connected_and_not_ready():
    silent, other = agent("a", "host=x&ipv4=10.0.0.1&cidr=10.1.0.0/16"), agent("b", "host=x&default-route=true")
    registry = registry_of(silent, other)
    assert [strategies.ready(name, registry) for name in strategies.NAMES] == [2, 3, 1]
    silent.suspect = True
    assert [strategies.ready(name, registry) for name in strategies.NAMES] == [1, 1, 1]
    assert [strategies.size(name, registry) for name in strategies.NAMES] == [2, 3, 1]

"""Readiness of the server, decided by agents, peer servers and the shutdown."""

from __future__ import annotations

from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.readiness import NO_AGENT, NO_ANSWER, SHUTTING_DOWN, Readiness, agent_trouble
from konnectivity_server.registry import Registry


class Agent:
    agent_id, load = "a", 1.0
    identifiers = Identifiers()
    draining = exhausted = duplicate = declining = suspect = False


def test_a_server_without_an_agent_that_answers_is_in_trouble():
    registry, agent = Registry(), Agent()
    assert agent_trouble(["default"], registry) == NO_AGENT
    registry.add(agent)
    assert agent_trouble(["default"], registry) is None
    agent.suspect = True
    assert agent_trouble(["default"], registry) == NO_ANSWER


def test_the_first_strategy_alone_decides():
    registry = Registry()
    registry.add(Agent())
    assert agent_trouble(["destHost", "default"], registry) == NO_AGENT


def test_a_peer_server_that_takes_dials_makes_the_server_ready():
    peers = []
    readiness = Readiness(lambda: NO_AGENT, lambda: bool(peers))
    assert readiness.trouble() == NO_AGENT
    peers.append("peer")
    assert readiness.trouble() is None


def test_a_server_that_shuts_down_is_not_ready():
    readiness = Readiness(lambda: None, lambda: True)
    assert readiness.trouble() is None
    readiness.leave()
    assert readiness.trouble() == SHUTTING_DOWN


def test_readiness_may_depend_on_a_path_that_passes_and_then_peer_servers_do_not_count():
    troubles = ["no agent passes its probes"]
    readiness = Readiness(lambda: None, lambda: True, lambda: troubles[0] if troubles else None)
    assert readiness.trouble() == "no agent passes its probes"
    troubles.clear()
    assert readiness.trouble() is None
    readiness.leave()
    assert readiness.trouble() == SHUTTING_DOWN

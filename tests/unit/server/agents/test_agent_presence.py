"""Presence of agents: streams of one agent, two agents with one id, and agents that left."""

from __future__ import annotations

import pytest

from konnectivity_server.agents.agent_presence import AgentPresence


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def presence():
    return AgentPresence(Clock())


def test_another_stream_of_the_same_agent_is_no_conflict(presence):
    assert presence.add("a", "certificate 1") is None
    assert presence.knows("a", "certificate 1")
    assert presence.add("a", "certificate 1") is None
    assert presence.conflicts == 0


def test_an_agent_with_the_id_of_another_one_is_a_conflict(presence):
    presence.add("a", "certificate 1")
    assert not presence.knows("a", "certificate 2")
    assert presence.add("a", "certificate 2") == "certificate 1"
    assert presence.conflicts == 1


def test_an_agent_departs_with_its_last_stream(presence):
    presence.add("a", "certificate 1")
    presence.add("a", "certificate 1")
    presence.remove("a", "certificate 1", reason="moved")
    assert presence.departures() == []
    presence.remove("a", "certificate 1", reason="gone")
    (departure,) = presence.departures()
    assert (departure["id"], departure["reason"], departure["count"]) == ("a", "gone", 1)
    assert not presence.knows("a", "certificate 1")


def test_an_agent_that_returned_is_not_listed_as_departed(presence):
    presence.add("a", "")
    presence.remove("a", "")
    presence.add("a", "")
    assert presence.departures() == []

"""Load of an agent: grows with connections, dials and slowness, and an agent that fails fast does not look idle."""

from __future__ import annotations

import pytest

from konnectivity_server.agents.agent_load import DIAL_WEIGHT, ERROR_HALF_LIFE_S, LEAST_LATENCY_S, AgentLoad


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_an_idle_agent_has_a_small_load_that_grows_with_connections_and_dials():
    load = AgentLoad(Clock())
    assert load.total(0, 0) == LEAST_LATENCY_S
    assert load.total(3, 0) == 4 * LEAST_LATENCY_S
    assert load.total(0, 2) == (1 + 2 * DIAL_WEIGHT) * LEAST_LATENCY_S


def test_a_slow_agent_has_a_larger_load():
    load = AgentLoad(Clock())
    for _ in range(50):
        load.answered(0.1, refused=False)
    assert load.dial_latency_s == pytest.approx(0.1, rel=0.01)
    assert load.total(0, 0) == pytest.approx(0.1, rel=0.01)


def test_an_error_counts_like_a_connection_and_fades():
    clock = Clock()
    load = AgentLoad(clock)
    load.answered(0.0, refused=True)
    load.answered(0.0, refused=True)
    assert load.total(0, 0) == 3 * LEAST_LATENCY_S
    clock.now += ERROR_HALF_LIFE_S
    assert load.total(0, 0) == 2 * LEAST_LATENCY_S


def test_an_error_does_not_make_an_agent_look_faster():
    load = AgentLoad(Clock())
    load.answered(0.1, refused=False)
    before = load.dial_latency_s
    load.answered(0.0001, refused=True)
    assert load.dial_latency_s == before

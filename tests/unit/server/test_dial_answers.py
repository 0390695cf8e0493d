"""Verdicts on failed tries of a dial."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, NO_DESCRIPTORS, NO_MEMORY, TOO_MANY_DIALS, DialError, DialFailure
from konnectivity_server.dial_answers import TryVerdict, verdict_of

REFUSED = "dial tcp node:1: connect: connection refused"


@pytest.mark.parametrize("of_agent", [True, False])
@pytest.mark.parametrize(
    ("failure", "text", "try_another", "last_resort", "declined"),
    [
        (DialFailure.ENDPOINT, REFUSED, False, False, None),
        (DialFailure.ENDPOINT, NO_MEMORY, True, True, DialFailure.BUDGET),
        (DialFailure.ENDPOINT, TOO_MANY_DIALS, True, True, DialFailure.FLOOD),
        (DialFailure.ENDPOINT, f"dial tcp node:1: {TOO_MANY_DIALS}", False, False, None),
        (DialFailure.ENDPOINT, f"dial tcp node:1: {NO_DESCRIPTORS}", True, True, None),
        (DialFailure.TUNNEL_LOST, "the agent left", True, True, None),
        (DialFailure.CLOSED_BY_AGENT, "dial closed", True, False, None),
        (DialFailure.PROTOCOL, "connection id 0", False, False, None),
    ],
)
def test_another_backend_is_asked_only_if_the_first_gave_no_answer_or_had_no_room(
    of_agent, failure, text, try_another, last_resort, declined
):
    error = DialError(failure, text)
    assert verdict_of(error, of_agent) == TryVerdict(error, try_another, last_resort, True, declined)


def test_a_peer_server_without_an_agent_was_not_harmed_by_the_dial():
    error = DialError(DialFailure.ENDPOINT, NO_AGENT)
    assert verdict_of(error, of_agent=False) == TryVerdict(error, True, True, False, DialFailure.NO_AGENT)


def test_an_agent_cannot_speak_for_the_server():
    verdict = verdict_of(DialError(DialFailure.ENDPOINT, f"x: {NO_AGENT}"), of_agent=True)
    assert str(verdict.error) == f"the agent answered 'x: {NO_AGENT}'"
    assert (verdict.error.failure, verdict.try_another, verdict.declined) == (DialFailure.ENDPOINT, True, None)

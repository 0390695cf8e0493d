"""History of tokens: the lane of a token by earlier verdicts, and tokens that waited in vain before."""

from __future__ import annotations

import pytest

from konnectivity_server.agents.review_queue import Lane
from konnectivity_server.agents.token_claims import Claims
from konnectivity_server.agents.token_history import KNOWN_FOR_S, ShownToken, TokenHistory
from konnectivity_server.agents.token_rules import ExpectedAccount

EXPECTED = ExpectedAccount("kube-system", "konnectivity-agent", "audience")
OURS = Claims(("audience",), "kube-system", "konnectivity-agent", "uid-1")
NOBODY = Claims()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def history(clock):
    return TokenHistory(EXPECTED, clock, 5, 1 << 20)


def shown(token="token", claims=OURS, source="192.0.2.1"):
    return ShownToken(token, token.encode(), claims, source, f"{source}:1")


def test_a_token_without_history_is_judged_by_its_claims(history):
    assert history.lane(shown()) is Lane.CLAIMS
    assert history.lane(shown(claims=NOBODY)) is Lane.UNKNOWN


def test_an_accepted_token_is_proven_for_a_day(history, clock):
    history.accepted(shown(claims=NOBODY), "")
    assert history.lane(shown(claims=NOBODY, source="198.51.100.1")) is Lane.PROVEN
    clock.now += KNOWN_FOR_S
    assert history.lane(shown(claims=NOBODY, source="198.51.100.1")) is Lane.UNKNOWN


def test_another_token_of_the_accepted_account_is_proven_by_the_uid_that_only_it_knows(history):
    history.accepted(shown(), "uid-1")
    renewed, forged = shown("renewed", source="x"), shown("forged", OURS._replace(account_uid="uid-2"), "x")
    assert history.lane(renewed) is Lane.PROVEN
    assert history.lane(forged) is Lane.CLAIMS
    assert history.lane(shown("other", NOBODY._replace(account_uid="uid-1"), "x")) is Lane.UNKNOWN


def test_a_source_of_an_accepted_token_is_known(history):
    history.accepted(shown(), "uid-1")
    assert history.lane(shown("other", OURS._replace(account_uid=""))) is Lane.CLAIMS_KNOWN_SOURCE
    assert history.lane(shown("other", NOBODY)) is Lane.KNOWN_SOURCE


def test_a_token_that_waited_in_vain_comes_earlier_until_it_is_judged(history):
    token, stranger = shown(), shown("garbage", NOBODY, "x")
    history.waited_in_vain(token.digest)
    history.waited_in_vain(stranger.digest)
    assert (history.lane(token), history.lane(stranger)) == (Lane.CLAIMS_RETURNING, Lane.RETURNING)
    history.refused(stranger)
    assert history.lane(stranger) is Lane.UNKNOWN


def test_a_token_that_is_refused_loses_its_proof(history):
    history.accepted(shown(claims=NOBODY), "")
    history.refused(shown(claims=NOBODY))
    assert history.lane(shown(claims=NOBODY)) is Lane.KNOWN_SOURCE


def test_the_history_is_bounded(history):
    for number in range(20):
        history.accepted(shown(f"token-{number}", NOBODY, f"source-{number}"), f"uid-{number}")
    lanes = [history.lane(shown(f"token-{number}", NOBODY, "x")) for number in range(20)]
    assert lanes.count(Lane.PROVEN) == 5

"""Rules for tokens: the requests that show one properly, and the reviewed tokens that are accepted."""

from __future__ import annotations

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code
from konnectivity.kube.api_answers import Review
from konnectivity.kube.api_error import KubeError
from konnectivity_server.agents.token_rules import (
    MAX_TOKEN,
    ExpectedAccount,
    TokenRefusal,
    refusal_of_error,
    token_of,
)

USER = "system:serviceaccount:kube-system:konnectivity-agent"
AUDIENCE = "system:konnectivity-server"
EXPECTED = ExpectedAccount("kube-system", "konnectivity-agent", AUDIENCE)


def review(user=USER, audiences=(AUDIENCE,), authenticated=True, error=""):
    return Review(authenticated, user, audiences, error, {})


@pytest.mark.parametrize("value", ["Bearer good", "Bearer good\n", "Bearer  good "])
def test_a_bearer_token_is_returned_without_the_spaces_around_it(value):
    assert token_of(Metadata([("authorization", value)])) == "good"


@pytest.mark.parametrize(
    ("headers", "reason", "text"),
    [
        ([], "missing", "Authentication context was not found in metadata"),
        (
            [("authorization", "Bearer good"), ("Authorization", "Bearer good")],
            "several",
            "too many (2) tokens are received",
        ),
        ([("authorization", "good")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "bearer good")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "Bearer ")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "")], "scheme", "the token has to follow 'Bearer '"),
        ([("authorization", "Bearer g\udcff")], "scheme", "the token has characters that no token has"),
        ([("authorization", "Bearer a\tb")], "scheme", "the token has characters that no token has"),
        (
            [("authorization", "Bearer " + "x" * MAX_TOKEN)],
            "length",
            "the token has 8199 characters; at most 8192 are allowed",
        ),
    ],
)
def test_a_request_that_shows_no_proper_token_is_refused(headers, reason, text):
    assert token_of(Metadata(headers)) == TokenRefusal(reason, text)


def test_a_token_of_the_expected_account_is_accepted():
    assert EXPECTED.refusal(review()) is None


@pytest.mark.parametrize(
    ("reviewed", "reason", "text"),
    [
        (review(error="lookup failed"), "invalid", "the token is not valid: lookup failed"),
        (review(authenticated=False), "invalid", "the token is not valid"),
        (review(audiences=()), "audience", f"the token is not for the audience '{AUDIENCE}'"),
        (review("admin"), "user", "unexpected user name 'admin'"),
        (review(f"{USER}:more"), "user", f"unexpected user name '{USER}:more'"),
        (
            review("system:node:kube-system:konnectivity-agent"),
            "user",
            "user 'system:node:kube-system:konnectivity-agent' is no service account",
        ),
        (
            review("system:serviceaccount:default:konnectivity-agent"),
            "namespace",
            "the service account is of namespace 'default', not 'kube-system'",
        ),
        (
            review("system:serviceaccount:kube-system:default"),
            "service_account",
            "the service account is 'default', not 'konnectivity-agent'",
        ),
    ],
)
def test_a_reviewed_token_of_another_kind_is_refused(reviewed, reason, text):
    assert EXPECTED.refusal(reviewed) == TokenRefusal(reason, text)


def test_a_long_error_of_the_api_is_cut():
    refusal = EXPECTED.refusal(review(error="x" * 1000))
    assert refusal is not None
    assert refusal.text == f"the token is not valid: {'x' * 300}"


@pytest.mark.parametrize(
    ("error", "what", "code"),
    [
        (KubeError("no", 403, "Forbidden"), "403 Forbidden", Code.UNKNOWN),
        (KubeError("no", 429, "TooManyRequests"), "429 TooManyRequests", Code.UNAVAILABLE),
        (KubeError("no", reason="Throttled"), "Throttled", Code.UNAVAILABLE),
        (KubeError("no", reason="Unreachable"), "Unreachable", Code.UNKNOWN),
    ],
    ids=str,
)
def test_an_agent_may_return_soon_if_the_api_was_only_busy(error, what, code):
    refusal = refusal_of_error(error)
    assert (refusal.reason, refusal.code) == ("api", code)
    assert f"could not check the token ({what})" in refusal.text
    assert "no" in refusal.detail

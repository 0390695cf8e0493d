"""Claims of an unverified token: read in linear time, whatever a stranger writes."""

from __future__ import annotations

import base64
import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity_server.agents.token_claims import Claims, claims_of
from konnectivity_server.agents.token_rules import ExpectedAccount


def jwt(payload):
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"e30.{base64.urlsafe_b64encode(text).decode().rstrip('=')}.c2ln"


OURS = {
    "aud": ["system:konnectivity-server"],
    "exp": 1700000000,
    "iss": "https://kubernetes.default.svc",
    "kubernetes.io": {
        "namespace": "kube-system",
        "node": {"name": "node-7", "uid": "n"},
        "pod": {"name": "agent-x", "uid": "p"},
        "serviceaccount": {"name": "konnectivity-agent", "uid": "a1"},
    },
    "sub": "system:serviceaccount:kube-system:konnectivity-agent",
}
EXPECTED = ExpectedAccount("kube-system", "konnectivity-agent", "system:konnectivity-server")


def test_a_token_of_a_service_account():
    claims = claims_of(jwt(OURS))
    assert claims == Claims(("system:konnectivity-server",), "kube-system", "konnectivity-agent", "a1", 1.7e9)
    assert EXPECTED.named_by(claims)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"aud": []},
        {"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "konnectivity-agent"}}},
        {"kubernetes.io": {"namespace": "kube-system", "serviceaccount": {"name": "default"}}},
        {"kubernetes.io": {}},
    ],
    ids=str,
)
def test_a_token_that_does_not_even_say_that_it_is_ours(change):
    assert not EXPECTED.named_by(claims_of(jwt(OURS | change)))


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.%%%.c",
        "a.b.c.d",
        jwt(b"\xff"),
        jwt(b"[1]"),
        jwt(b'{"aud": {}}'),
        jwt(b'{"kubernetes.io": 7}'),
        jwt(b'{"exp": 1e999}'),
        jwt(b'{"exp": ' + b"9" * 5000 + b"}"),
        jwt(b'{"x": ' + b"[" * 100_000),
        jwt(b'{"x": ' + b'{"x":' * 100_000),
    ],
    ids=lambda token: token[:30],
)
def test_what_says_nothing(token):
    assert claims_of(token) == Claims()


@pytest.mark.parametrize(
    ("token", "ends"),
    [
        (jwt({"exp": 1700000000}), 1700000000.0),
        (jwt({"exp": 1.5, "sub": "x" * 50}), 1.5),
        (jwt({"sub": "x"}), None),
        (jwt({"exp": None}), None),
        (jwt({"exp": "soon"}), None),
        (jwt({"exp": 10**400}), None),
        ("a..c", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_time_at_which_a_token_ends(token, ends):
    assert claims_of(token).expires == ends


@given(st.text(max_size=200) | st.binary(max_size=200).map(jwt))
def test_any_text(token):
    claims_of(token)


@pytest.mark.parametrize("unit", [b"[", b'{"aud":', b'"\\u0041', b"1", b'{"aud":["a",', b" ", b"\\"], ids=repr)
def test_it_takes_time_in_proportion_to_the_length(unit):
    def spent(size):
        token = jwt((b'{"aud":' + unit * size)[:size])
        began = process_time()
        for _ in range(20):
            claims_of(token)
        return process_time() - began

    spent(1000)
    assert spent(800_000) < 40 * spent(100_000) + 0.05

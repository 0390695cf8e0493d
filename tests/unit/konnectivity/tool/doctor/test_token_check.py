"""Check of tokens by their own claims."""

from __future__ import annotations

import base64
import json

import pytest

from konnectivity.tool.doctor.token_check import judge

NOW = 1_800_000_000.0
AUDIENCE = "system:konnectivity-server"
ACCOUNT = "kube-system/konnectivity-agent"
GOOD = {"aud": [AUDIENCE], "sub": "system:serviceaccount:kube-system:konnectivity-agent", "iat": NOW, "exp": NOW + 3600}


def jwt(claims):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.x\n".encode()


def judged(content, account=ACCOUNT):
    return [(each.check, each.status.value, each.what) for each in judge("f", content, AUDIENCE, account, NOW)]


def test_a_good_one():
    assert judged(jwt(GOOD)) == [
        ("token", "ok", f"for {AUDIENCE}, of {GOOD['sub']}, valid until 2027-01-15 09:00:00 UTC")
    ]
    assert judged(jwt({**GOOD, "aud": AUDIENCE}))[0][1] == "ok"
    assert judged(jwt({"aud": AUDIENCE}), "")[0][1] == "ok"


@pytest.mark.parametrize(
    ("content", "check", "status", "text"),
    [
        (b" \n", "token", "failed", "empty"),
        (b"opaque", "token", "warning", "is not a JWT"),
        (b"a.!!.c", "token", "warning", "is not a JWT"),
        (b"\xff\xfe", "token", "warning", "is not a JWT"),
        (jwt([1]), "token", "warning", "is not a JWT"),
        (jwt({**GOOD, "aud": []}), "token", "failed", "for no audience"),
        (jwt({**GOOD, "aud": 7}), "token", "failed", "for no audience"),
        (jwt({**GOOD, "sub": "system:serviceaccount:kube-system:default"}), "token", "failed", "kube-system:default"),
        (jwt({**GOOD, "exp": NOW - 1}), "token", "failed", "has expired"),
        (jwt({**GOOD, "exp": NOW + 30}), "token", "warning", "ends in 30 s"),
        (jwt({**GOOD, "exp": 1e300}), "token", "ok", "valid until 1e+300"),
        (jwt({**GOOD, "nbf": NOW + 600}), "clock", "failed", "600 s from now"),
    ],
)
def test_others(content, check, status, text):
    found = judged(content)
    assert (found[-1][0], found[-1][1]) == (check, status)
    assert text in found[-1][2]

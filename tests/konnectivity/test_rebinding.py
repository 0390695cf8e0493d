"""Who may ask a port of this machine."""

from __future__ import annotations

import pytest

from konnectivity.http import Request, text
from konnectivity.rebinding import guarded, is_meant


def request(host):
    return Request("GET", "/", "", {"host": host} if host else {})


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8095",
        "127.0.0.1",
        "localhost:8095",
        "LocalHost",
        "a.localhost:1",
        "[::1]:8095",
        "[::1]",
        "10.0.0.1",
        "",
    ],
)
def test_addresses_and_localhost_are_meant(host):
    assert is_meant(request(host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8095",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "a b",
        "1",
        ":80",
    ],
)
def test_names_of_others_are_not(host):
    assert not is_meant(request(host))


def test_what_is_guarded_answers_those_it_is_meant_for():
    handler = guarded(lambda request: text("numbers"))
    assert handler(request("localhost")).body == b"numbers"
    assert handler(request("evil.example")).status == 421

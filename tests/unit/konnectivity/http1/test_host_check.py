"""Host check: requests that a port of this machine accepts."""

from __future__ import annotations

import pytest

from konnectivity.http1.handlers import Request, text
from konnectivity.http1.host_check import guarded, is_cross_site, is_meant


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


OWN, OTHER = "http://127.0.0.1:8095", "http://evil.example"


def asks(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/", "", {"host": "127.0.0.1:8095", **named})


@pytest.mark.parametrize(
    "request_",
    [
        asks(),
        asks(user_agent="curl/8"),
        asks(sec_fetch_site="none"),
        asks(sec_fetch_site="same-origin", sec_fetch_mode="cors"),
        asks(origin=OWN),
        asks(origin=OWN, sec_fetch_site="same-origin"),
    ],
)
def test_the_page_itself_and_programs_are_answered(request_):
    assert not is_cross_site(request_)
    assert guarded(lambda request: text("numbers"))(request_).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        asks(sec_fetch_site="cross-site"),
        asks(sec_fetch_site="same-site"),
        asks(sec_fetch_site=""),
        asks(sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image"),
        asks(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"),
        asks(origin=OTHER),
        asks(origin="null"),
        asks(origin="http://127.0.0.1:8096"),
        asks(origin="http://127.0.0.1:8095.evil.example"),
        asks(origin=OTHER, sec_fetch_site="none"),
    ],
)
@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("page", [True, False])
def test_a_page_of_another_site_gets_nothing(request_, local, page):
    assert guarded(lambda request: text("numbers"), local, page)(request_).status == 403


def test_a_link_from_another_site_leads_to_the_page_and_to_nothing_else():
    follows = asks(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document")
    assert guarded(lambda request: text("page"), page=True)(follows).status == 200
    assert guarded(lambda request: text("profile"))(follows).status == 403
    assert guarded(lambda request: text("page"), page=True)(follows._replace(method="POST")).status == 403

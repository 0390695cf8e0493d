"""Admin port: the clients it answers, and the presence of the web page."""

from __future__ import annotations

from importlib import resources

import pytest

from konnectivity.http1.handlers import Request, text
from konnectivity_server import dashboard
from konnectivity_server.api.admin_port import AdminRoutes
from konnectivity_server.server_options import ServerOptions


def request(host, known=""):
    return Request("GET", "/", "", {"host": host, "if-none-match": known})


@pytest.mark.parametrize(
    ("address", "flag", "served"),
    [
        ("127.0.0.1", None, True),
        ("127.9.9.9", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("", None, False),
        ("0.0.0.0", None, False),
        ("10.0.0.1", None, False),
        ("node-1", None, False),
        ("", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_the_page_is_there_by_itself_on_loopback_only(address, flag, served):
    routes = AdminRoutes(ServerOptions(admin_bind_address=address, enable_dashboard=flag), {})
    assert ("/" in routes) == ("/dashboard/app.js" in routes) == served


def test_a_name_of_another_site_gets_nothing_from_loopback():
    own = {"/metrics": lambda request: text("numbers")}
    here, there = (AdminRoutes(ServerOptions(admin_bind_address=each), own) for each in ("127.0.0.1", ""))
    assert here["/metrics"](request("localhost")).body == b"numbers"
    assert here["/metrics"](request("evil.example")).status == 421
    assert here["/"](request("evil.example")).status == 421
    assert there["/metrics"](request("server.example")).body == b"numbers", "a port that is open has names"
    assert sorted(there) == ["/metrics"]
    assert len(here) == len(list(here))


def test_every_file_of_the_page_is_served_and_no_other():
    files = {
        each.name for each in resources.files(dashboard).iterdir() if each.name.rpartition(".")[2] in dashboard.TYPES
    }
    assert files == {dashboard.INDEX, dashboard.TENANTS, *dashboard.FILES}


def test_the_first_page_of_a_server_of_many_tenants_has_all_or_the_one_that_is_named():
    page = dashboard.routes(many_tenants=True)["/"]
    every, one = (page(Request("GET", "/", query)).body for query in ("", "tenant=a"))
    assert b"Tenants of a Konnectivity server" in every
    assert one == dashboard.routes()["/"](request("")).body


@pytest.mark.parametrize("path", sorted(dashboard.routes()))
def test_a_file_is_sent_once(path):
    handler = dashboard.routes()[path]
    first = handler(request(""))
    assert (first.status, first.headers["Cache-Control"]) == (200, "no-cache")
    assert "unsafe" not in first.headers["Content-Security-Policy"]
    again = handler(request("", first.headers["ETag"]))
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert handler(request("", '"another"')).status == 200
    assert b"http://" not in first.body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in first.body
    assert b"innerHTML" not in first.body


def test_the_page_has_nothing_inline():
    page = (resources.files(dashboard) / dashboard.INDEX).read_text()
    assert " style=" not in page
    assert "<style" not in page
    assert " on" not in page.replace(" on ", "")
    assert page.count("<script") == page.count('<script type="module" src=') == 1

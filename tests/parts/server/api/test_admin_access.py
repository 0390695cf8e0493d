"""Tests of the admin port's tokens: the file of the server's tokens, and the answers with and without a token."""

from __future__ import annotations

import json
import logging
from collections import Counter
from hashlib import sha256

import pytest

from konnectivity.errors import StartError
from konnectivity.http1.handlers import Request, text
from konnectivity_server.api.admin_access import TokenRoutes, checked
from konnectivity_server.server_options import ServerOptions

TOKEN, OLD, OF_TENANT = "a-token-of-the-server", "the-token-of-before", "the-token-of-tenant-a"
OWN = {"/metrics": lambda request: text("all"), "/api/v1/tenants": lambda request: text("tenants")}


class Site:
    """Routes behind a file of tokens, with a clock that the test moves."""

    def __init__(self, directory):
        self.file = directory / "tokens"
        self.file.write_text(f"{TOKEN}\n\n{OLD}\n")
        self.reached = Counter()
        self.now = 0.0
        self.routes = TokenRoutes(str(self.file), OWN, self.reached, self._of_tenants, lambda: self.now)

    @staticmethod
    def _of_tenants(digest):
        known = sha256(OF_TENANT.encode()).hexdigest()
        return {"/metrics": lambda request: text("of a")} if digest == known else None

    def get(self, path, field=None, source="10.0.0.9"):
        headers = {} if field is None else {"authorization": field}
        return self.routes[path](Request("GET", path, "", headers, source=source))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("field", [f"Bearer {TOKEN}", f"bearer {OLD}", f"BEARER  {TOKEN} "])
def test_a_token_of_the_server_opens_every_route(site, field):
    assert site.get("/metrics", field).body == b"all"
    assert site.get("/api/v1/tenants", field).body == b"tenants"
    assert site.get("/nothing", field).status == 404
    assert not site.reached


@pytest.mark.parametrize("path", ["/metrics", "/nothing", "/debug/pprof/heap"])
def test_without_a_token_no_path_tells_whether_it_exists(site, path):
    found = site.get(path)
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert set(json.loads(found.body)) == {"error"}
    assert not site.reached, "a request without a token is no guess"


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Bearer {TOKEN} {OLD}",
        f"Bearer {sha256(TOKEN.encode()).hexdigest()}",
        "Bearer \xe9\xff",
        "Bearer \u20ac",
        f"Bearer {TOKEN}\n{OLD}",
    ],
)
def test_a_wrong_token_is_counted_and_logged_and_never_quoted(site, field, caplog):
    with caplog.at_level(logging.INFO):
        found = site.get("/metrics", field, f"10.1.0.{len(field)}-{hash(field)}")  # the rate of the log is by source
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert site.reached == {"wrong_admin_token": 1}
    assert "Wrong token on the admin port" in caplog.text
    said = f"{caplog.records[0].getMessage()} {caplog.records[0].fields} {found.body.decode()}"
    assert TOKEN.lower() not in said.lower()


def test_wrong_tokens_of_one_source_are_logged_at_a_limited_rate(site, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            site.get("/metrics", "Bearer wrong", "10.9.8.7")
    assert len(caplog.records) <= 10
    assert site.reached == {"wrong_admin_token": 100}


def test_the_token_of_a_tenant_opens_the_routes_of_the_tenant_and_tells_of_no_other(site):
    assert site.get("/metrics", f"Bearer {OF_TENANT}").body == b"of a"
    refused = [site.get(path, f"Bearer {OF_TENANT}") for path in ("/api/v1/tenants", "/nothing", "/debug/pprof/")]
    assert {each.status for each in refused} == {403}
    assert len({each.body for each in refused}) == 1
    assert not site.reached


def test_a_changed_file_is_used_and_one_that_cannot_be_used_is_not(site, caplog):
    site.file.write_text("another-token-of-the-server")
    site.now += 2
    assert site.get("/metrics", f"Bearer {TOKEN}").status == 401
    assert site.get("/metrics", "Bearer another-token-of-the-server").status == 200
    for bad in ("", "short\n"):
        site.file.write_text(bad)
        site.now += 2
        assert site.get("/metrics", "Bearer another-token-of-the-server").status == 200
        assert "keeping the one of before" in caplog.text
        caplog.clear()
    site.file.unlink()
    site.now += 2
    assert site.get("/metrics", "Bearer another-token-of-the-server").status == 200


@pytest.mark.parametrize(
    "content", ["", "\n\n", "short", f"{TOKEN}\nwith a space in it\n", "caf\xe9-cafe-cafe-cafe", "\0" * 20]
)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start_which_quotes_no_token(tmp_path, content):
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(StartError, match=r"--admin-token-file: .*openssl rand -hex 32") as caught:
        checked(ServerOptions(admin_token_file=str(file)), OWN, Counter())
    assert not any(line and line in str(caught.value) for line in content.splitlines())


def test_a_missing_file_is_an_error_at_the_start(tmp_path):
    with pytest.raises(StartError, match="cannot read"):
        checked(ServerOptions(admin_token_file=str(tmp_path / "none")), OWN, Counter())


def test_without_a_file_nothing_is_asked():
    assert checked(ServerOptions(), OWN, Counter()) is OWN

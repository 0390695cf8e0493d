"""Comparison of servers by the figures that they report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from konnectivity.tool.doctor.server_comparison import View, agents_by_metrics, judge, skew

WEEK_S = 7 * 86400.0


def view(address="a:1", *agents, skew_s=0.0, **overview):
    whole = {"id": f"server-{address[0]}", "ready": True, "version": "1", **overview}
    return View(address, "", whole, [{"id": each, "state": "ready"} for each in agents], skew_s)


def judged(*views, expected=()):
    return [(each.check, each.status.value, each.what) for each in judge(views, expected, WEEK_S)]


def statuses(*views, **how):
    return {(check, status) for check, status, _ in judged(*views, **how)}


def test_two_servers_with_the_same_agents():
    assert {status for _, status in statuses(view("a:1", "x", "y"), view("b:1", "x", "y"))} == {"ok"}


def test_who_is_missing_where():
    found = judged(view("a:1", "x"), view("b:1", "y"), expected=["z"])
    assert [what for check, _, what in found if check == "agent-everywhere"] == [
        "agent x is not connected (it is to a:1)",
        "agent y is not connected (it is to b:1)",
        "agent z is not connected anywhere",
        "agent z is not connected anywhere",
    ]


def test_a_server_that_does_not_answer_is_no_place_where_agents_are_missing():
    lost = View("b:1", "cannot ask b:1")
    assert statuses(view("a:1", "x"), lost) >= {("admin", "failed"), ("agent-everywhere", "ok")}


def test_an_older_server_has_no_overview():
    assert ("server-ready", "skipped") in statuses(View("a:1", "", {}, [{"id": "x"}]))


@pytest.mark.parametrize(("agents", "status"), [(0, "failed"), (2, "ok")])
def test_of_a_reference_server_only_the_number_of_agents_is_known(agents, status):
    found = statuses(View("a:1", reference_agents=agents), view("b:1", "x"))
    assert found >= {("admin", "skipped"), ("agents", status), ("agent-everywhere", "ok")}


def test_how_an_established_server_is_known():
    gauge = "konnectivity_network_proxy_server_ready_backend_connections 3\n"
    assert agents_by_metrics(f'go_info{{version="go1.24"}} 1\n{gauge}'.encode()) == 3
    assert agents_by_metrics(gauge.encode()) is None
    assert agents_by_metrics(b"go_info 1\n") is None


@pytest.mark.parametrize(
    ("seconds", "status"), [(0.0, "ok"), (4.0, "ok"), (-30.0, "warning"), (61.0, "failed"), (-3600.0, "failed")]
)
def test_clocks(seconds, status):
    assert ("clock", status) in statuses(view("a:1", "x", skew_s=seconds))


@pytest.mark.parametrize(("left", "status"), [(-5, "failed"), (86400, "warning"), (30 * 86400, None)])
def test_certificates_in_use(left, status):
    each = {"end": "agents", "kind": "certificate", "expires_in": left, "reload_failures": 0}
    found = {state for check, state in statuses(view("a:1", "x", certificates=[each])) if check.startswith("cert")}
    assert found == ({status} if status else set())


def test_files_that_changed_and_could_not_be_used():
    each = {"end": "agents", "kind": "certificate", "expires_in": 1e7, "reload_failures": 2}
    assert ("tls-reload", "warning") in statuses(view("a:1", "x", certificates=[each]))


def test_dials_that_failed_lately_are_told_once_for_each_reason_but_not_those_that_targets_refused():
    recent = [
        {"reason": "no_agent", "ago": 5.0, "destination": "a:1", "text": "No agent available"},
        {"reason": "no_agent", "ago": 9.0, "destination": "b:1", "text": "No agent available"},
        {"reason": "error_response", "ago": 1.0, "destination": "c:1", "text": "refused"},
        {"reason": "backend_close", "ago": 9000.0, "destination": "d:1", "text": "old"},
    ]
    found = judged(view("a:1", "x", dial_failures={"recent": recent}))
    assert [what for check, _, what in found if check == "dial-failures"] == ["a:1: No agent available (no_agent)"]


def test_a_silent_agent_is_a_failure_and_one_that_leaves_is_not():
    silent = {"id": "x", "state": "silent", "heard_ago": 12.34}
    leaving = {"id": "y", "state": "draining"}
    found = judged(View("a:1", "", {"id": "s", "ready": True}, [silent, leaving]))
    assert ("agent-state", "failed", "agent x is silent, nothing heard for 12.3 s") in found
    assert ("agent-state", "warning", "agent y is draining") in found


def test_the_date_of_an_answer():
    now = datetime(2026, 1, 1, 12, 0, 0, 900_000, UTC)
    assert skew("Thu, 01 Jan 2026 12:00:00 GMT", now) == 0.0
    assert skew("Thu, 01 Jan 2026 13:00:00 GMT", now) == 3599.1
    assert skew("", now) is None
    assert skew("yesterday", now) is None


def test_refused_handshakes_are_told_by_reason_and_those_of_a_balancer_are_not():
    failures = {"agents": {"expired": 3, "closed": 900, "not_tls": 2}, "frontends": {"wrong_purpose": 1}}
    found = judged(view("a:1", "x", handshake_failures=failures))
    told = [what for check, _, what in found if check == "tls-handshakes"]
    assert [what.partition(" since its start: ")[::2] for what in told] == [
        ("3 handshakes for agents failed", "the client's certificate, or its authority's, has expired"),
        (
            "1 handshakes for frontends failed",
            "the client's certificate is for servers only: it lacks the extended key usage clientAuth",
        ),
    ]

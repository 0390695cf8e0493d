"""Responses of health ports."""

from __future__ import annotations

from konnectivity.http1 import health
from konnectivity.http1.handlers import Request
from konnectivity.http1.health import Check

GOOD = Check("ping", lambda: None)
BAD = Check("agents", lambda: "no agent is connected")


def asked(query: str = "") -> Request:
    return Request("GET", "/readyz", query)


def test_a_program_whose_checks_hold_is_ready() -> None:
    assert health.ready([GOOD], 500)(asked())[::2] == (200, b"ok")
    assert health.ready([GOOD], 500)(asked("verbose")).body == b"[+]ping ok\ncheck passed\n"


def test_a_failed_check_is_named_among_all_with_the_status_for_it() -> None:
    answer = health.ready([GOOD, BAD], 503)(asked())
    assert (answer.status, answer.body) == (503, b"[+]ping ok\n[-]agents failed: no agent is connected\n")


def test_a_terse_response_is_the_first_reason_unless_all_are_asked_for() -> None:
    handler = health.ready([GOOD, BAD], 500, terse=True)
    assert handler(asked()).body == b"no agent is connected"
    assert handler(asked("verbose")).body.startswith(b"[+]ping ok\n[-]agents failed")


def test_checks_are_made_at_each_request() -> None:
    reasons = ["not yet"]
    handler = health.ready([Check("start", lambda: reasons[0] if reasons else None)], 500)
    assert handler(asked()).status == 500
    reasons.clear()
    assert handler(asked()).status == 200


def test_any_response_means_alive() -> None:
    assert health.alive(asked()).status == 200

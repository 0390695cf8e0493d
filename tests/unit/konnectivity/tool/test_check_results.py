"""Results of checks, and the actions they advise."""

from __future__ import annotations

from konnectivity.tool import check_results
from konnectivity.tool.check_results import any_failed, rows, to_do

GOOD = check_results.ok("resolve", "a", "10.0.0.1")
DUBIOUS = check_results.warning("expiry", "b", "ends in 3 days", "renew it")
BAD = check_results.failed("reach", "c", "refused", "start it")


def test_only_a_failure_fails():
    assert not any_failed([GOOD, DUBIOUS, check_results.skipped("token", "d", "no file")])
    assert any_failed([GOOD, BAD])


def test_what_is_urgent_comes_first_and_each_once():
    again = check_results.warning("expiry", "e", "ends in 4 days", "renew it")
    assert to_do([GOOD, DUBIOUS, BAD, again]) == [
        "reach (failed; c): start it",
        "expiry (warning; b, e): renew it",
    ]


def test_rows_are_plain_values():
    assert rows([BAD]) == [{"check": "reach", "status": "failed", "where": "c", "what": "refused", "do": "start it"}]
    assert type(rows([BAD])[0]["status"]) is str

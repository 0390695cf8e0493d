"""Reasons of lasting failures: a change is logged, a repetition is not."""

from __future__ import annotations

from konnectivity.runtime.logs.logged_reasons import LoggedReasons


def test_the_first_reason_and_each_other_one_are_news_and_a_repetition_is_not() -> None:
    logged = LoggedReasons()
    assert [logged.record("server", reason) for reason in ("refused", "refused", "reset", "refused")] == [
        True,
        False,
        True,
        True,
    ]


def test_things_do_not_know_of_each_other() -> None:
    logged = LoggedReasons()
    assert logged.record("one", "refused")
    assert logged.record("other", "refused")


def test_a_reason_is_news_again_after_the_thing_worked() -> None:
    logged = LoggedReasons()
    logged.record("server", "refused")
    assert logged.clear("server")
    assert logged.record("server", "refused")


def test_success_is_news_only_after_a_failure_even_one_without_a_text() -> None:
    logged = LoggedReasons()
    assert not logged.clear("server")
    logged.record("server", "")
    assert logged.clear("server")
    assert not logged.clear("server")


def test_the_number_of_things_is_bounded_and_a_forgotten_reason_is_news_again() -> None:
    logged = LoggedReasons(max_keys=2)
    for key in ("a", "b", "c"):
        logged.record(key, "refused")
    assert logged.record("a", "refused")
    assert not logged.record("c", "refused")

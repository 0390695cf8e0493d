"""Tests of the state of one path: a suspicion, a fault, and what ends each."""

from __future__ import annotations

from konnectivity_server.probes.path_faults import FROZEN, REFUSED, fault
from konnectivity_server.probes.path_record import PathRecord, ShownCertificate

REFUSAL = fault(REFUSED, "connection refused")


def test_one_failure_is_a_suspicion_and_the_second_a_fault() -> None:
    record = PathRecord("a:1", 0.0)
    assert not record.usable
    assert record.passed(1.0, {"dial": 0.1}, None)
    assert (record.state, record.since, record.usable) == ("passing", 1.0, True)
    assert not record.failed(5.0, REFUSAL, {})
    assert (record.state, record.since, record.usable) == ("suspect", 5.0, True)
    assert record.failed(6.0, REFUSAL, {})
    assert (record.state, record.since, record.usable) == ("failing", 6.0, False)
    assert not record.failed(7.0, REFUSAL, {}), "nothing new"
    assert record.passed(8.0, {}, None)
    assert (record.state, record.fault, record.failures) == ("passing", None, 0)


def test_a_suspicion_that_is_not_confirmed_changes_no_verdict() -> None:
    record = PathRecord("a:1", 0.0)
    record.passed(1.0, {}, None)
    record.failed(2.0, REFUSAL, {})
    assert not record.passed(3.0, {}, None)


def test_a_path_that_never_passed_is_not_usable_while_it_is_suspected() -> None:
    record = PathRecord("a:1", 0.0)
    record.failed(2.0, REFUSAL, {})
    assert (record.state, record.usable) == ("suspect", False)
    assert record.passed(3.0, {}, None), "the first verdict"


def test_a_certain_fault_needs_no_confirmation() -> None:
    record = PathRecord("a:1", 0.0)
    record.passed(1.0, {}, None)
    assert record.failed(2.0, fault(FROZEN, "silent"), {}, certain=True)
    assert record.state == "failing"


def test_the_last_certificate_stays_while_the_target_shows_none() -> None:
    record = PathRecord("a:1", 0.0)
    shown = ShownCertificate("CN=a", "CN=ca", 1.0)
    record.passed(1.0, {}, shown)
    record.failed(2.0, REFUSAL, {})
    assert record.certificate is shown

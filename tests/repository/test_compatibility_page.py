"""Tests of the compatibility page as it is made from outcomes of several stages and workers."""

from __future__ import annotations

import pytest

from compatibility import page
from compatibility.outcomes import TESTS, Outcomes

CELL = "tests/interop/test_egress.py::test_a_client_has_the_expected_outcome_of_a_scenario[ours-grpc-uds-echo]"
METRIC = "tests/interop/test_reference_metrics.py::test_every_metric[agent]"
CHECK = "tests/node/test_operations.py::test_logs_have_the_last_lines"


def report(test, outcome="passed", when="call", properties=()):
    return pytest.TestReport(test, ("", 0, ""), {}, outcome, None, when, user_properties=list(properties))


def outcomes(*reports, earlier=()):
    made = Outcomes(list(earlier))
    for each in reports:
        made.add(each)
    return made


def text(found):
    made = page.CompatibilityPage()
    for each in found:
        made.add(each)
    return made.text()


def every_file(folder):
    """Return reports of one passed test in each file of a folder."""
    return [report(f"tests/{folder}/{each.name}::test") for each in sorted((TESTS / folder).glob("test_*.py"))]


def test_workers_and_stages_make_the_same_page_as_one_run():
    checks = [
        report(CELL),
        report(CELL.replace("echo", "exec")),
        report(METRIC, properties=[("metric", ("packets_total", ["counter", "v0.36.0"]))]),
        report(CHECK, properties=[("transport", "grpc-uds"), ("figures", ("connect-uds", "17 MiB"))]),
    ]
    expected = text(outcomes(*checks))
    assert "| egress selector, GRPC over unix socket | 2 |" in expected
    assert "| packets_total | counter | v0.36.0 |" in expected
    assert "| logs have the last lines | yes | 17 MiB |" in expected
    first = outcomes(checks[2], checks[0], checks[1])
    assert text(outcomes(checks[3], earlier=first)) == expected


def test_a_failure_at_any_time_of_a_test_counts_until_the_test_passes():
    for when in ("setup", "call", "teardown"):
        failed = outcomes(report(CELL), report(CELL, "failed", when))
        assert [each.outcome for each in failed] == ["failed"]
        assert [each.outcome for each in outcomes(report(CELL), earlier=failed)] == ["passed"]


def test_other_folders_are_left_out():
    assert list(outcomes(report("tests/unit/test_x.py::test"), report(CELL, when="setup"))) == []


def test_only_a_whole_run_without_a_failure_writes_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(page, "PAGE", tmp_path / "compatibility.md")
    interop, node = every_file("interop"), every_file("node")
    for some in (interop, node, interop + node[:-1], [*interop, *node, report(CELL, "failed")]):
        page.write(outcomes(*some))
        assert list(tmp_path.iterdir()) == []
    page.write(outcomes(*node, *interop))
    assert {each.name for each in tmp_path.iterdir()} == {"compatibility.md", "scenarios.md"}

"""Record of the last whole run of tests/node with each Kubernetes release: version, date, and numbers of checks.

A pytest plugin, loaded by `-p release_report` (`make e2e`, `make compatibility`). It writes last_runs.toml, from which
tests/interop/matrix.py makes a table of the compatibility page.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILE = HERE / "last_runs.toml"


class ReleaseReport:
    """Collector of the outcomes of the checks on real nodes."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.whole = True  # no test was deselected

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.whole = self.whole and not items

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "tests/node/" in report.nodeid and (report.when == "call" or report.failed):
            self.outcomes[report.nodeid] = report.outcome

    @pytest.hookimpl(tryfirst=True)  # the compatibility page shows this run, too
    def pytest_sessionfinish(self) -> None:
        files = {Path(each.partition("::")[0]).name for each in self.outcomes}
        if self.whole and files == {each.name for each in HERE.glob("test_*.py")}:
            FILE.write_text(self.text())

    def text(self) -> str:
        """Return the record of all releases, with this run in the place of the release's last one."""
        from support import cluster_programs  # pytest has the path of tests/ only after it has loaded plugins

        passed = sum(each == "passed" for each in self.outcomes.values())
        runs = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
        runs[cluster_programs.RELEASE] = {
            "version": cluster_programs.versions()[cluster_programs.RELEASE],
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "passed": passed,
            "failed": len(self.outcomes) - passed,
        }
        lines = ["# Written by `make e2e` and `make compatibility`."]
        for release, run in sorted(runs.items()):
            lines += ["", f'["{release}"]', *(f"{key} = {value!r}".replace("'", '"') for key, value in run.items())]
        return "\n".join(lines) + "\n"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ReleaseReport(), "release-report")

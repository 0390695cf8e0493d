"""Report of the last run with real Kamaji: date, commit, and the outcome of each check.

A pytest plugin, loaded by `-p run_report` (`make e2e-kamaji`); without it the tests with real Kamaji are not collected.
It writes last_run.toml, from which tests/compatibility/page.py makes a table of the compatibility page.
"""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
FILE = HERE / "last_run.toml"
COMMIT = HERE.parent.parent / ".cache" / "kamaji" / "commit"
NAME = "kamaji-run-report"


class RunReport:
    """Collector of the outcomes of a run."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.whole = True  # no test was deselected

    def pytest_sessionstart(self) -> None:
        """Handle SIGTERM like Ctrl-C, so that fixtures remove their processes and namespaces."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def pytest_deselected(self, items) -> None:
        self.whole = self.whole and not items

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call" or report.failed:
            self.outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session) -> None:
        files = {each.partition("::")[0] for each in self.outcomes}
        expected = {each.name for each in HERE.glob("test_*.py")} - {"test_recorded.py"}
        if self.whole and {Path(each).name for each in files} == expected:
            FILE.write_text(self.text())

    def text(self) -> str:
        passed = sum(each == "passed" for each in self.outcomes.values())
        lines = [
            "# Written by `make e2e-kamaji`.",
            f'date = "{datetime.now(UTC):%Y-%m-%d}"',
            f'commit = "{COMMIT.read_text().strip()}"',
            f"passed = {passed}",
            f"failed = {len(self.outcomes) - passed}",
            "",
            "[checks]",
        ]
        for node, outcome in self.outcomes.items():
            file, _, name = node.partition("::")
            subject = Path(file).stem.removeprefix("test_").replace("_", " ")
            words = name.removeprefix("test_").replace("_", " ").replace("[", " (").replace("]", ")")
            lines.append(f"{json.dumps(f'{subject}: {words}')} = {json.dumps(outcome)}")
        return "\n".join(lines) + "\n"


def pytest_configure(config) -> None:
    config.pluginmanager.register(RunReport(), NAME)

"""Record of the last whole run of tests/node with each Kubernetes release: versions, date, and numbers of checks.

The compatibility page has a table made from it.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

from compatibility.outcomes import TESTS, Outcomes
from support import cluster_programs

FILE = TESTS / "node" / "last_runs.toml"
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")  # is there if the machine's cgroups are of version 2


def write(outcomes: Outcomes) -> None:
    """Write the record if each file of tests/node has outcomes."""
    found = [each.outcome for each in outcomes.of("node")]
    if found:
        FILE.write_text(_text(found))


def _text(found: list[str]) -> str:
    """Return the record of all releases, with this run in the place of the release's last one."""
    runs = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    runs[cluster_programs.RELEASE] = {
        "version": cluster_programs.versions()[cluster_programs.RELEASE],
        "cgroups": 2 if UNIFIED.exists() else 1,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "passed": found.count("passed"),
        "failed": len(found) - found.count("passed"),
    }
    lines = ["# Written by `make e2e`, `make compatibility` and `REPORT=1 make test`."]
    for release, run in sorted(runs.items()):
        lines += ["", f'["{release}"]', *(f"{key} = {value!r}".replace("'", '"') for key, value in run.items())]
    return "\n".join(lines) + "\n"

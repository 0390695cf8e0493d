"""Coverage-guided fuzzing of one target, with atheris.

Atheris is not among the development tools: it has no wheel for every Python. To install it where a wheel exists:

    python3.11 -m venv /tmp/atheris && /tmp/atheris/bin/pip install atheris -e .
    /tmp/atheris/bin/python tests/fuzz/coverage_guided.py http2_server -max_total_time=600

Arguments after the target go to libFuzzer. Inputs that reach new code are kept in .fuzz/<target>/; an input that
breaks the target is written to the working directory as crash-*: give the file a descriptive name, and move it to
tests/fuzz/corpus/<target>/, where the ordinary test run replays it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["konnectivity", "konnectivity_server", "konnectivity_agent", "hpack", "h11"]):
    from fuzz_targets import CORPUS, TARGETS

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: {sys.argv[0]} TARGET [libFuzzer's flags]; the targets are {', '.join(TARGETS)}")
    name = sys.argv.pop(1)
    found = Path(".fuzz", name)
    found.mkdir(parents=True, exist_ok=True)
    atheris.Setup([*sys.argv, str(found), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()

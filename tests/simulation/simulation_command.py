"""The simulation as a command, for tests: it needs a process of its own, where the machine is replaced."""

from __future__ import annotations

import os
import subprocess
import sys

from support.checkout import ROOT


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run `python -m simulation` and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )

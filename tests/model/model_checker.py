"""TLC, the model checker of TLA+, run on a module of this folder."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
JAR = FOLDER.parent.parent / ".cache" / "bin" / "tla2tools.jar"
TIMEOUT_S = 240
COUNT = re.compile(r"(\d+) states generated, (\d+) distinct states found, 0 states left on queue")
BROKEN = re.compile(r"Invariant (\w+) is violated|Temporal properties were violated")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of a check.

    Attributes:
        states: number of distinct states; 0 if the check stopped at an error.
        broken: name of the broken invariant, "temporal properties", or empty.
        output: text that TLC printed: the steps to the error, if there is one.

    """

    states: int
    broken: str
    output: str


def check(module: str, configuration: str, directory: Path, edits: dict[str, str] | None = None) -> Verdict:
    """Check all states of a module, in a copy in `directory`.

    Args:
        module: name of the module.
        configuration: name of the file with its constants and the promises to check.
        directory: empty directory for the copy and TLC's files.
        edits: texts of the modules that are replaced, wherever they stand, before the check: to see it fail.

    Raises:
        ValueError: a text to replace stands in no module, or in more than one.
        RuntimeError: TLC could not check the module.

    """
    for path in (*FOLDER.glob("*.tla"), *FOLDER.glob("*.cfg")):
        shutil.copy(path, directory)
    for old, new in (edits or {}).items():
        (path,) = [path for path in directory.glob("*.tla") if old in path.read_text()]
        path.write_text(path.read_text().replace(old, new))
    options = ["-workers", "2", "-deadlock", "-lncheck", "final", "-config", f"{configuration}.cfg"]
    command = ["java", "-XX:+UseParallelGC", "-cp", str(JAR), "tlc2.TLC", *options, module]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    broken, counted = BROKEN.search(done.stdout), COUNT.search(done.stdout)
    if broken is None and (counted is None or done.returncode != 0):
        raise RuntimeError(f"TLC ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    if broken is not None:
        return Verdict(0, broken[1] or "temporal properties", done.stdout)
    return Verdict(int(counted[2]) if counted is not None else 0, "", done.stdout)

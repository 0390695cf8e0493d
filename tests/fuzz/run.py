"""Fuzzing of any duration: `python tests/fuzz/run.py --minutes 10 [TARGET ...]`.

The targets take turns. An input that breaks a target is minimized, written to its corpus as found-* (where the ordinary
test run replays it from then on) and shown; the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from ast import literal_eval

from fuzz_inputs import fuzz
from fuzz_targets import CORPUS, TARGETS

EXAMPLES = 500  # examples of one turn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    left = arguments.targets or list(TARGETS)
    counts = dict.fromkeys(left, 0)
    end = time.monotonic() + 60 * arguments.minutes
    broken = False
    while left and time.monotonic() < end:
        for name in list(left):
            if time.monotonic() >= end:
                break
            try:
                fuzz(name, EXAMPLES)
                counts[name] += EXAMPLES
            except Exception as error:
                broken = True
                left.remove(name)
                traceback.print_exception(error)
                print(f"{name}: broken by {_keep(name, error)}", file=sys.stderr)
    for name, count in counts.items():
        print(f"{name}: {count} inputs")
    return 1 if broken else 0


def _keep(name: str, error: Exception) -> str:
    """Write the input that the error's note holds into the corpus and return its path."""
    notes = [note for note in error.__notes__ if note.startswith(f"target {name}, input ")]
    data: bytes = literal_eval(notes[-1].partition(", input ")[2])
    path = CORPUS / name / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())

"""Number of examples of a property test: all of them in CI, a quarter of them on a developer's machine."""

from __future__ import annotations

import os

FEWEST = 20


def examples(number: int) -> int:
    """Return how many of `number` examples are tried in this run."""
    return number if os.environ.get("CI") else max(FEWEST, number // 4)

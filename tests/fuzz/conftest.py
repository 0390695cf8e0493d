"""The targets are found by `run.py` and `coverage_guided.py` beside them, and here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

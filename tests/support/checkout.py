"""Paths of the checkout that the tests are part of."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DEPLOYERS = ROOT / "tests" / "deployers.toml"  # argument lists and manifests that deployers publish

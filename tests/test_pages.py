"""Pages name files of this project: they are there, whatever was moved since."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for where in (".", "docs", "docker", "benchmarks") for path in (ROOT / where).glob("*.md"))
NAMED = re.compile(r"(?<![\w/.:-])((?:tests|konnectivity|server|agent|benchmarks|scripts|docker|proto)/[\w./-]*\w)")
IMAGES = {"konnectivity/proxy-server", "konnectivity/proxy-agent"}  # of containers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    named = set(NAMED.findall(page.read_text())) - IMAGES
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []


def test_it_is_looked_at() -> None:
    assert len(PAGES) > 30
    assert sum(len(NAMED.findall(page.read_text())) for page in PAGES) > 200

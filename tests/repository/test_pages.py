"""Links of all pages lead somewhere: to a file, and to a heading in it; and the files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.checkout import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
LINKS = [
    (page, link)
    for page in PAGES
    for link in sorted(set(re.findall(r"\]\(([^)\s]+)\)", page.read_text())))
    if "://" not in link
]

NAMED = re.compile(r"(?<![\w/.:-])((?:tests|konnectivity|server|agent|benchmarks|scripts|docker|proto)/[\w./-]*\w)")
IMAGES = {"konnectivity/proxy-server", "konnectivity/proxy-agent"}  # of containers


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}: {link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target), sorted(anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    named = set(NAMED.findall(page.read_text())) - IMAGES
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []


def test_names_are_found() -> None:
    assert sum(len(NAMED.findall(page.read_text())) for page in PAGES) > 200

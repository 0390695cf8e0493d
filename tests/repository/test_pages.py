"""Tests of the documentation pages: short, listed in an index, with valid links and paths, in plain sentences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.checkout import DOCS, ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *sorted((ROOT / "charts").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
READ = [page for page in PAGES if page.name != "CHANGELOG.md"]  # entries for old releases keep their words
FOLDERS = sorted(page.parent for page in DOCS.rglob("README.md"))
MOST_LINES = 250
RECORD = "compatibility.md"  # generated: each test that passed has a row, which is looked up and not read
LINKS = [
    (page, link)
    for page in PAGES
    for link in sorted(set(re.findall(r"\]\(([^)\s]+)\)", page.read_text())))
    if "://" not in link
]

NAMED = re.compile(
    r"(?<![\w/.:-])((?:tests|konnectivity|server|agent|benchmarks|scripts|docker|proto|charts)/[\w./-]*\w)"
)
IMAGES = {"konnectivity/proxy-server", "konnectivity/proxy-agent"}  # container images


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
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


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_short(page: Path) -> None:
    lines = page.read_text().splitlines()
    if page.name == RECORD:
        lines = [line for line in lines if not line.startswith("|")]
    assert len(lines) <= MOST_LINES


def test_every_folder_of_pages_has_a_first_page() -> None:
    assert sorted({page.parent for page in DOCS.rglob("*.md")}) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_first_page_of_a_folder_lists_its_pages(folder: Path) -> None:
    listed = set(re.findall(r"\]\(([^)#\s]+)", (folder / "README.md").read_text()))
    pages = {page.name for page in folder.glob("*.md")} | {
        f"{page.parent.name}/README.md" for page in folder.glob("*/*.md")
    }
    assert pages - {"README.md"} <= listed


# Phrases without an actor, a quantity or a noun, and words that mean something only inside the project.
UNCLEAR = re.compile(
    r"established (?:program|server|agent|implementation|wire|one|peer|packet|set-up)s?\b"
    r"|\bgo(?:es)? on\b|\bwho(?:ever)? asks\b|\bwho comes\b|\bso many\b|\bso long as\b|\bwhat is said\b"
    r"|\bas (?:it is|they are)\b|\bis no(?:t any)? more\b|\b(?<![Tt]here )(?:is|are) no (?!longer)[a-z]"
    r"|\b(?:of|are|is|than|by|from|with|and) ours\b|\bOurs\b|\b(?:of|are) theirs\b|\bunder way\b"
    r"|\bledgers?\b|\buplinks?\b|\bfleets?\b|\bvouchers?\b|\bguests?\b"
)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_unclear_phrase(page: Path) -> None:
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    prose = re.sub(r"(?m)`[^`]*`|^    .*$", "", prose)
    found = [match[0] for match in UNCLEAR.finditer(" ".join(prose.split()))]
    assert found == []

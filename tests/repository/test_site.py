"""Tests of the site: it builds without a warning, has every page, finds words, draws diagrams from its own files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from support import browser
from support.checkout import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if not (Path(sys.executable).parent / "mkdocs").exists():
        pytest.skip("mkdocs is missing: make .venv/.stamp")
    directory = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        ["sh", ROOT / "scripts/site.sh", directory], capture_output=True, text=True, timeout=180, check=False
    )
    assert (built.returncode, built.stderr) == (0, ""), built.stdout
    return directory


class Page(HTMLParser):
    """Links, anchors and loaded files of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script") and "src" in found:
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") == "stylesheet":
            self.loaded.append(found["href"])


def test_every_page_of_the_documentation_is_in_it(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html")
        made = site / (name.with_name("index.html") if page.name == "README.md" else name)
        assert made.exists(), page


def test_every_link_and_every_file_that_a_page_loads_is_there(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    broken, outside = [], []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            if re.match(r"\w+:|//", link):
                outside += [link] if link in page.loaded else []
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (path.parent / name.partition("?")[0]).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if path.name == "404.html":  # its links begin at the root of a host
                continue
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []
    assert outside == []


def test_the_search_finds_a_flag_and_a_name_of_the_client_library(site: Path) -> None:
    found = json.loads((site / "search/search_index.json").read_text())["docs"]
    texts = {entry["location"].partition("#")[0]: "" for entry in found}
    for entry in found:
        texts[entry["location"].partition("#")[0]] += entry["text"]
    assert "proxy-strategies" in texts["reference/server-options.html"]
    assert "malformed" in texts["reference/client.html"]  # of a docstring


DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def home(site: Path):
    """Open the site's first page in a browser."""
    if missing := browser.missing():
        pytest.skip(f"{' and '.join(missing)} missing: apt-get install chromium chromium-driver")
    with browser.Browser() as window:
        window.open((site / "index.html").as_uri())
        yield window


def test_a_page_draws_its_diagrams_from_files_of_the_site(home: browser.Browser) -> None:
    """The theme replaces each diagram's source by an element that holds the picture, which the library makes."""
    wanted = len(DIAGRAM.findall((DOCS / "README.md").read_text()))
    assert wanted > 0
    home.until(lambda: home.run("return document.querySelectorAll('div.mermaid').length") == wanted, "diagrams")
    heights = home.run("return [...document.querySelectorAll('div.mermaid')].map(each => each.clientHeight)")
    assert min(heights) > 60
    loaded = home.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in loaded if not each.startswith(("file:", "data:", "blob:"))] == []


def test_the_library_can_draw_every_diagram(home: browser.Browser) -> None:
    """The library's parser, which raises an error here if a diagram has a mistake, takes all diagrams of all pages."""
    sources = [source for page in DOCS.rglob("*.md") for source in DIAGRAM.findall(page.read_text())]
    assert len(sources) > 10
    for source in sources:
        assert home.run("return mermaid.parse(arguments[0])", source)["diagramType"]

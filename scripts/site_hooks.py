"""Hooks of mkdocs: the navigation from the indexes of docs/, and pages of a repository made into pages of a site.

Links that leave docs/ become names of files, since the site has no other files of the repository; those to the pages at
its top lead to copies of these.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "SUPPORT.md", "CODE_OF_CONDUCT.md")
FOLDERS = {
    "Start": "start",
    "Operate": "operate",
    "Secure": "secure",
    "Reference": "reference",
    "Internals": "internals",
}
CLIENT = "reference/client.md"
CLIENT_NAMES = (
    "konnectivity.client",
    "konnectivity.client.httpx_transport.TunnelTransport",
    "konnectivity.client.aiohttp_connector.TunnelConnector",
    "konnectivity.client.socket_bridge.bridged_socket",
    "konnectivity.client.blocking_client.BlockingTunnel",
    "konnectivity.net.hop_timings.HopTimings",
)
DIAGRAMS = "assets/mermaid.min.js"  # of scripts/site.sh

_FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_LISTED = re.compile(r"\]\(([\w-]+\.md)\)")
_ITEM = re.compile(r"^(?:\* |\d+\. |\| )")


def on_config(config: Any) -> Any:
    """Make the navigation: each folder's pages in the order in which its index lists them."""
    config.nav = [
        {"Home": "README.md"},
        *({title: [f"{folder}/README.md", *_listed(folder)]} for title, folder in FOLDERS.items()),
        {"Glossary": "glossary.md"},
        {"Project": [f"project/{name}" for name in TOP]},
    ]
    return config


def _listed(folder: str) -> list[str]:
    names = dict.fromkeys(_LISTED.findall((DOCS / folder / "README.md").read_text()))
    return [f"{folder}/{name}" for name in names if name != "README.md" and (DOCS / folder / name).exists()]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages at the top of the repository, and the library that draws the diagrams."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, DIAGRAMS, abs_src_path=os.environ["MERMAID"]))
    for name in TOP:
        files.append(File.generated(config, f"project/{name}", content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Adapt the text of a page."""
    path = page.file.src_uri
    top = path.startswith("project/")
    place = ROOT if top else (DOCS / path).parent
    parts = _FENCE.split(markdown)
    for at in range(0, len(parts), 2):  # each second part is a block of code
        text = _LINK.sub(lambda found: _link(found, place, path), parts[at])
        parts[at] = _spaced(text)
    text = "".join(parts)
    return text + "".join(f"\n::: {name}\n" for name in CLIENT_NAMES) if path == CLIENT else text


def _link(found: re.Match[str], place: Path, path: str) -> str:
    """Return a link of the site for a link of the repository."""
    mark, text, target = found.groups()
    name, hash_sign, anchor = target.partition("#")
    if "://" in target or not name:
        return found[0]
    file = (place / name).resolve()
    here = (DOCS / path).parent
    if file.is_relative_to(DOCS) and (file.suffix in (".md", ".png", ".svg") or mark):
        return f"{mark}[{text}]({os.path.relpath(file, here)}{hash_sign}{anchor})"
    if file.parent == ROOT and file.name in TOP:
        return f"[{text}]({os.path.relpath(DOCS / 'project' / file.name, here)}{hash_sign}{anchor})"
    return f"{text} (`{file.relative_to(ROOT)}`)" if file.exists() else found[0]


def _spaced(text: str) -> str:
    """Put an empty line before each list and table that follows a line of text, as Python-Markdown needs it."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        begins = bool(_ITEM.match(line)) and before.strip() != ""
        if begins and not _ITEM.match(before) and not before.startswith(" "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)

"""Write the parts of charts/ that have their source elsewhere (--check: compare).

The chart's version, its copies of alerts and dashboard, the table of values in its README, and the objects of the
kustomize base.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from generated_files import ROOT, write_or_check
from konnectivity import __version__

CHART = ROOT / "charts" / "konnectivity"
KUSTOMIZE = ROOT / "charts" / "kustomize"
MONITORING = ROOT / "docs" / "operate" / "monitoring"
BEGIN, END = "<!-- values: make docs writes this table from values.yaml -->\n", "<!-- end of values -->\n"
# Nobody can own a name below .invalid (RFC 2606): a base without an overlay reaches no server and pulls no image.
REGISTRY, SERVER = "registry.invalid", "server.invalid"
OBJECTS = {
    KUSTOMIZE / "agent" / "objects.yaml": (
        "all",
        f"--server={SERVER}",
        f"--image={REGISTRY}/proxy-agent:{__version__}",
    ),
    KUSTOMIZE / "server" / "static-pod.yaml": ("server", f"--image={REGISTRY}/proxy-server:{__version__}"),
}


def documented(lines: list[str], node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, yaml.Node, str]]:
    """Yield path, value and text of each documented value; `# -- ` begins a text, which may take several lines."""
    for key, value in node.value:
        at = f"{path}{key.value}"
        text: list[str] = []
        for line in reversed(lines[: key.start_mark.line]):
            found = re.fullmatch(r" *# (?:(--) )?(.*)", line)
            if found is None:
                text = []
                break
            text.insert(0, found[2])
            if found[1]:
                break
        if text:
            yield at, value, " ".join(text)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from documented(lines, value, f"{at}.")
        else:
            raise SystemExit(f"charts/konnectivity/values.yaml: {at} has no text; write a comment `# -- TEXT` above it")


def table(values: str) -> str:
    """Return the table of all values in Markdown."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    root = yaml.compose(values)
    if not isinstance(root, yaml.MappingNode):
        raise SystemExit("charts/konnectivity/values.yaml: the values must be a mapping")
    for path, node, text in documented(values.splitlines(), root):
        value = yaml.safe_load(yaml.serialize(node))
        shown = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).split("\n")[0]
        rows.append(f"| `{path}` | {'' if value in ('', None) else f'`{shown}`'} | {text} |")
    return "\n".join(rows) + "\n"


def readme(page: str, values: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def manifests(arguments: tuple[str, ...]) -> str:
    """Return the output of `konnectivity manifests`, headed by the command."""
    command = [sys.executable, "-m", "konnectivity.tool.cli", "manifests", *arguments]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return f"# `make docs` writes this file: konnectivity manifests {' '.join(arguments)}\n{made}"


def wanted() -> dict[Path, str]:
    """Return the text of each file."""
    chart = (CHART / "Chart.yaml").read_text()
    texts = {
        CHART / "Chart.yaml": re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {__version__}", chart),
        CHART / "README.md": readme((CHART / "README.md").read_text(), (CHART / "values.yaml").read_text()),
    }
    for name in ("rules.yaml", "dashboard.json"):
        texts[CHART / "files" / name] = (MONITORING / name).read_text()
    return texts | {path: manifests(arguments) for path, arguments in OBJECTS.items()}


if __name__ == "__main__":
    sys.exit(write_or_check(wanted()))

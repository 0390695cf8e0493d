"""The Helm chart of this checkout, rendered by Helm, which tests/chart/build.sh builds."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.checkout import ROOT

CHART = ROOT / "charts" / "konnectivity"
HELM = (ROOT / ".cache" / "bin").resolve() / "helm"
NAMESPACE = "kube-system"
BUILD_TIMEOUT_S = 900
COMMAND_TIMEOUT_S = 60

Values = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the dashboard takes PyYAML's own loader a second


@cache
def helm_or_skip() -> Path:
    """Build Helm if CI runs the tests; return its path. Without Helm the test is skipped."""
    if os.environ.get("CI"):
        subprocess.run(["sh", str(ROOT / "tests/chart/build.sh")], check=True, timeout=BUILD_TIMEOUT_S)
    if not HELM.exists():
        pytest.skip(f"missing: {HELM} (`sh tests/chart/build.sh` builds it)")
    return HELM


def merged(*parts: Values) -> Values:
    """Return values in which later parts replace single entries of earlier ones, as `helm --values` does."""
    made: Values = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(made.get(key), dict)
            made[key] = merged(made[key], value) if both else value
    return made


def at(path: str, value: object) -> Values:
    """Return values with one entry, named by its path with dots."""
    made: Any = value
    for key in reversed(path.split(".")):
        made = {key: made}
    return made  # type: ignore[no-any-return]


def run(*arguments: str, values: Values | None = None, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Helm with files of its own; values become a file. `within` is a command that runs another one."""
    helm = str(helm_or_skip())
    with tempfile.TemporaryDirectory(prefix="helm") as home:
        if values is not None:
            file = Path(home) / "values.yaml"
            file.write_text(yaml.safe_dump(values))
            arguments = (*arguments, f"--values={file}")
        environment = {**os.environ, **{f"HELM_{each}_HOME": home for each in ("CACHE", "CONFIG", "DATA")}}
        return subprocess.run(
            [*within, helm, *arguments], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment
        )


@cache
def _template(values: str, namespace: str) -> subprocess.CompletedProcess[str]:
    return run("template", "konnectivity", str(CHART), f"--namespace={namespace}", values=yaml.safe_load(values))


def template(values: Values, namespace: str = NAMESPACE) -> subprocess.CompletedProcess[str]:
    """Run `helm template`, once for equal values."""
    return _template(yaml.safe_dump(values), namespace)


def render(values: Values, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the objects of the chart."""
    done = template(values, namespace)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, _LOADER) if each]

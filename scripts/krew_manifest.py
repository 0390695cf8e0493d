"""Print krew's manifest of the kubectl plugin.

Usage: krew_manifest.py VERSION URL ARCHIVE. URL is where ARCHIVE is published.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import yaml

_DESCRIPTION = """\
Checks, explains and watches Konnectivity tunnels, and makes their certificates and manifests: doctor, explain, top,
curl, dial, pki, kubeconfig, egress-config, manifests. The file needs /usr/bin/python3 of the version that built it."""


def manifest(version: str, url: str, archive: Path) -> dict[str, object]:
    """Return the manifest of an archive for Linux on amd64."""
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "konnectivity"},
        "spec": {
            "version": f"v{version}",
            "shortDescription": "Check and set up Konnectivity tunnels",
            "description": _DESCRIPTION,
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": "linux", "arch": "amd64"}},
                    "uri": url,
                    "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                    "bin": "konnectivity",
                }
            ],
        },
    }


if __name__ == "__main__":
    version, url, archive = sys.argv[1:]
    yaml.safe_dump(manifest(version, url, Path(archive)), sys.stdout, sort_keys=False)

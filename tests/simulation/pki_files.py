"""Certificate files of the simulated programs, which read them at their start; the simulated TLS does not use them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / ".cache" / "simulation-pki"
_MAKE = "import sys; from pathlib import Path; from support.small_pki import Pki; Pki(Path(sys.argv[1]))"


def pki_files(directory: Path = DIRECTORY) -> tuple[str, str, str]:
    """Return the paths of CA, certificate and key, made by another process if they are not there yet.

    They appear all at once: another simulation may look for them at the same time.
    """
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent)
        subprocess.run([sys.executable, "-c", _MAKE, made], check=True)
        try:
            Path(made).rename(directory)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return str(directory / "ca.crt"), str(directory / "server.crt"), str(directory / "server.key")

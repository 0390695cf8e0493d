"""Certificate files of the simulated programs, which read them at their start; the simulated TLS does not use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / ".cache" / "simulation"
_MAKE = "import sys; from pathlib import Path; from support.small_pki import Pki; Pki(Path(sys.argv[1]))"


def pki_files() -> tuple[str, str, str]:
    """Return the paths of CA, certificate and key, made by another process if they are not there yet."""
    if not (DIRECTORY / "made").exists():
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", _MAKE, str(DIRECTORY)], check=True)
        (DIRECTORY / "made").touch()
    return str(DIRECTORY / "ca.crt"), str(DIRECTORY / "server.crt"), str(DIRECTORY / "server.key")

"""Dials on one gRPC connection with the reference's client library: a tunnel that kube-apiserver could keep for all.

The generator is a Go program, tests/interop/tunnel, since only that library has such a tunnel.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent.parent / ".cache" / "bin" / "tunnel"
COUNT, PARALLEL = 2000, 8
TIMEOUT_S = 90


def dials(socket: str, port: int) -> dict[str, Any]:
    """Open, use and close connections to an echo server on loopback, and return the number and the rate.

    Args:
        socket: path of the unix socket of a gRPC frontend.
        port: port of the echo server.

    """
    if not PROGRAM.exists():
        return {"error": "not built (sh tests/interop/build.sh)"}
    command = [str(PROGRAM), f"--socket={socket}", "--older=0", "--cached=false", f"--target=127.0.0.1:{port}"]
    command += [f"--count={COUNT}", f"--parallel={PARALLEL}", "churn"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    found = json.loads(output)
    if found["failed"]:
        return {"error": f"failed: {found['error']}"}
    return {"operations": found["done"], "per_s": found["done"] / found["seconds"]}

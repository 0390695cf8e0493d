"""Runs of programs of others, without the proxy variables of this machine."""

from __future__ import annotations

import os
import subprocess


def run(*command: str, status: int = 0, **environment: str) -> bytes:
    """Run a program with these variables, and no proxy of the machine; return what it printed."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    ran = subprocess.run(command, capture_output=True, timeout=50, env={**kept, **environment})
    assert ran.returncode == status, ran.stderr.decode()
    return ran.stdout


def curl(*arguments: str, status: int = 0, **environment: str) -> bytes:
    """Run curl, and return what it printed."""
    return run("curl", "-sS", "--max-time", "20", *arguments, status=status, **environment)

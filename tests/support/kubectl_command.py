"""kubectl as a program: one run to its end, or a process with pipes that ends with a block."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

COMMAND_TIMEOUT_S = 90.0
LINE_TIMEOUT_S = 30.0


class KubectlCommand:
    """kubectl with one kubeconfig. Knows neither the cluster nor its objects.

    Args:
        command: words that start kubectl in the right network, with its kubeconfig.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs kubectl with these arguments."""
        return [*self._command, *arguments]

    def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run kubectl to its end and return the finished process."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            env={**os.environ, **environment},
        )

    def ok(self, *arguments: str, stdin: bytes = b"", **environment: str) -> bytes:
        """Run kubectl, check that it succeeds, and return its output."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}"
        return done.stdout

    def error(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run kubectl, check that it fails, and return its error text."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} succeeds: {done.stdout.decode()}"
        return done.stderr.decode()

    def ready(self) -> bool:
        """Return whether the API server is ready and has its first namespaces."""
        return (
            self.run("get", "--raw", "/readyz").returncode == 0
            and self.run("get", "namespace", "default", "kube-system").returncode == 0
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start kubectl with pipes, and kill it at the end of the block."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.command(*arguments), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
            try:
                yield process
            finally:
                process.kill()


def read_line(process: subprocess.Popen[bytes], timeout_s: float = LINE_TIMEOUT_S) -> bytes:
    """Return the next line of a process's output."""
    assert process.stdout is not None
    line, end = b"", time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no line within {timeout_s:g} s, but {line!r}"
        data = os.read(process.stdout.fileno(), 1)
        if not data:
            assert process.stderr is not None
            raise AssertionError(f"the output ended after {line!r}: {process.stderr.read().decode()}")
        line += data
    return line


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """Return the next lines of a process's output."""
    return [read_line(process) for _ in range(count)]

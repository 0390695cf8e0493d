"""kubectl in the network of the control plane, as the cluster's administrator, by one of the API servers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_machine import NodeMachine

TIMEOUT_S = 90.0
TERMINAL_TIMEOUT_S = 40.0
TERMINAL_SIZE = (33, 101)  # rows, columns


class Kubectl:
    """kubectl of one API server.

    Args:
        transport: how that API server reaches the proxy server.
        node: of the control plane.
        executable: with all programs of the cluster.
        config: kubeconfig.
    """

    def __init__(self, transport: str, node: NodeMachine, executable: Path, config: Path) -> None:
        self.transport = transport
        self._command = node.in_network(str(executable), "kubectl", f"--kubeconfig={config}")

    def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run kubectl to its end and return the finished process."""
        return subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
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
        assert done.returncode != 0, done.stdout
        return done.stderr.decode()

    def apply(self, *objects: dict[str, Any]) -> None:
        self.ok("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode())

    def value(self, *arguments: str) -> Any:
        """Return what `kubectl get` prints as JSON."""
        return json.loads(self.ok("get", "-o", "json", *arguments))

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start kubectl with pipes, and end it at the end of the block."""
        command = [*self._command, *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def forwarding(self, target: str, port: int) -> Iterator[str]:
        """Forward a free port of the control plane's loopback to a port of a pod; yield the URL of the free port."""
        with self.running("port-forward", target, f":{port}") as process:
            line = read_line(process)
            found = re.search(rb":(\d+) ->", line)
            assert found is not None, line
            yield f"http://127.0.0.1:{found[1].decode()}"

    def terminal(self, arguments: Sequence[str], talk: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, int]:
        """Run kubectl on a terminal; return its output and exit code.

        Args:
            arguments: of kubectl.
            talk: a pattern of the output to wait for and the input to type then, one after the other.
        """
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvp(self._command[0], [*self._command, *arguments])  # noqa: S606 - kubectl
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *TERMINAL_SIZE, 0, 0))
        end = time.monotonic() + TERMINAL_TIMEOUT_S
        output, seen, code = b"", 0, None
        try:
            for pattern, typed in talk:
                while not re.search(pattern, output[seen:]):
                    data = _read_terminal(terminal, end)
                    assert data, f"the terminal ended before {pattern!r}: {output!r}"
                    output += data
                seen = len(output)
                os.write(terminal, typed)
            while data := _read_terminal(terminal, end):
                output += data
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            if code is None:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            os.close(terminal)
        return output, code


def _read_terminal(terminal: int, end: float) -> bytes:
    """Return the next output on a terminal, or nothing at its end."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    assert ready, "the terminal is silent"
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has closed it
        return b""


def read_line(process: subprocess.Popen[bytes], timeout_s: float = 30.0) -> bytes:
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
    return [read_line(process) for _ in range(count)]

"""kubectl in the network of the control plane, as the cluster's administrator, by one of the API servers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_machine import NodeMachine

from support import cluster_programs
from support.kubectl_command import KubectlCommand, read_line

TERMINAL_TIMEOUT_S = 40.0
TERMINAL_SIZE = (41, 127)  # rows, columns


class Kubectl(KubectlCommand):
    """kubectl of one API server.

    Args:
        transport: name of the way by which that API server reaches the proxy server.
        node: the control plane's node, in whose network kubectl runs.
        executable: the file that has all programs of the cluster.
        config: kubeconfig of the administrator.
    """

    def __init__(self, transport: str, node: NodeMachine, executable: Path, config: Path) -> None:
        super().__init__(node.in_network(str(executable), "kubectl", f"--kubeconfig={config}"))
        self.transport = transport

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects all at once."""
        self.ok("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode())

    def copy(self, source: str, target: str) -> None:
        """Copy a file into a pod or out of it; the end of an output that this release loses is asked for again."""
        self.ok("cp", source, target, *(["--retries=20"] if cluster_programs.SPDY_TO_KUBELETS else []))

    def value(self, *arguments: str) -> Any:
        """Return the object or the list that `kubectl get` prints as JSON."""
        return json.loads(self.ok("get", "-o", "json", *arguments))

    @contextmanager
    def forwarding(self, target: str, port: int) -> Iterator[str]:
        """Forward a free port of the control plane's loopback to a port of a pod; yield the URL of the free port."""
        with self.running("port-forward", target, f":{port}") as process:
            line = read_line(process)
            found = re.search(rb":(\d+) ->", line)
            assert found is not None, line
            yield f"http://127.0.0.1:{found[1].decode()}"

    def terminal(
        self, arguments: Sequence[str], talk: Sequence[tuple[bytes, bytes]], **environment: str
    ) -> tuple[bytes, int]:
        """Run kubectl on a terminal; return its output and exit code.

        Args:
            arguments: arguments of kubectl.
            talk: pairs of a pattern to wait for in the output and the input to type after it.
            environment: more variables for kubectl.
        """
        pid, terminal = pty.fork()
        if pid == 0:
            command = self.command(*arguments)
            os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606 - kubectl
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
            code = _exit_code(pid, end)
        finally:
            if code is None:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            os.close(terminal)
        return output, code


def _exit_code(pid: int, end: float) -> int:
    """Return the exit code of a child that has closed its terminal."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        assert time.monotonic() < end, "kubectl has closed its terminal and does not exit"
        time.sleep(0.05)


def _read_terminal(terminal: int, end: float) -> bytes:
    """Return the next output on a terminal, or nothing at its end."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    assert ready, f"no output on the terminal within {TERMINAL_TIMEOUT_S:g} s of its start"
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has closed it
        return b""

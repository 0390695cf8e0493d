"""An honest client: `python honest_client.py SOCKET TARGET HEALTH_PORT`. Ends with its standard input; prints JSON.

The client echoes on one old connection, dials anew and asks /healthz, each every 50 ms, by HTTP CONNECT on the unix
socket. It uses blocking sockets in three threads, so that no activity delays another.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PACE_S = 0.05
TIMEOUT_S = 60.0


def dial(path: str, target: str) -> socket.socket:
    """Return a connection to `target` through the server's unix socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(path)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(4096)
        if not more:
            raise ConnectionError(f"closed in the head: {head!r}")
        head += more
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(head.decode(errors="replace"))
    return connection


def echo(connection: socket.socket) -> None:
    """Send 64 bytes and read them back."""
    said = bytes(64)
    connection.sendall(said)
    heard = b""
    while len(heard) < len(said):
        more = connection.recv(4096)
        if not more:
            raise ConnectionError("closed in an echo")
        heard += more


class Client:
    """The three activities and their times in milliseconds."""

    def __init__(self, path: str, target: str, health_port: int) -> None:
        self.found: dict[str, list[Any]] = {"echoes_ms": [], "dials_ms": [], "health_ms": [], "errors": []}
        self._path, self._target, self._health_port = path, target, health_port
        self._over = threading.Event()
        self._old = dial(path, target)
        echo(self._old)

    def run(self) -> None:
        """Work until the standard input ends."""
        work = (("echoes_ms", lambda: echo(self._old)), ("dials_ms", self._dial), ("health_ms", self._health))
        threads = [threading.Thread(target=self._repeat, args=each) for each in work]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._over.set()
        for thread in threads:
            thread.join()

    def _repeat(self, name: str, once: Callable[[], None]) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                once()
            except (OSError, http.client.HTTPException) as error:
                self.found["errors"].append(f"{name}: {error!r}"[:300])
                self._over.wait(0.5)
            else:
                self.found[name].append((time.monotonic() - began) * 1000)
            self._over.wait(PACE_S)

    def _dial(self) -> None:
        dial(self._path, self._target).close()

    def _health(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status != 200:
                raise ConnectionError("/healthz is not 200")
        finally:
            connection.close()


if __name__ == "__main__":
    client = Client(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print("ready", flush=True)
    client.run()
    print(json.dumps(client.found))

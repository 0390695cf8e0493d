"""HAProxy in front of several servers, as a TCP load balancer."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
MISSING = "haproxy is not installed (apt-get install haproxy)"
_STOP_TIMEOUT_S = 10.0


class Balancer:
    """HAProxy process that runs for the length of the block and sends each connection to a server drawn at random.

    Args:
        directory: folder for the configuration of HAProxy.
        port: loopback port on which HAProxy listens.
        servers: loopback port of each server, by the server's name.
        more: further settings of each server, as "send-proxy".
    """

    def __init__(self, directory: Path, port: int, servers: Mapping[str, int], more: str = "") -> None:
        self.port = port
        settings = f"check inter 200ms {more}".rstrip()
        lines = "\n".join(f"  server {name} 127.0.0.1:{each} {settings}" for name, each in servers.items())
        self._config = directory / f"haproxy-{port}.cfg"
        self._config.write_text(
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend agents\n  bind 127.0.0.1:{port}\n  default_backend servers\n"
            f"backend servers\n  balance random\n{lines}\n"
        )

    def __enter__(self) -> Balancer:
        if HAPROXY is None:
            raise RuntimeError(MISSING)
        command = [HAPROXY, "-db", "-f", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(_STOP_TIMEOUT_S)

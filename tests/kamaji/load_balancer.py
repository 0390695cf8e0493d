"""HAProxy as the load balancer of a Service: one address, several ports, the same pods behind each port."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
_HEAD = "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 5m\n  timeout server 5m\n"


def command(file: Path, address: str, ports: Iterable[int], pods: Iterable[str]) -> list[str]:
    """Write the configuration of HAProxy for a Service, and return the command that runs HAProxy with it."""
    text, pods = _HEAD, list(pods)
    for port in ports:
        servers = "".join(f"  server {each} {each}:{port} check inter 300ms\n" for each in pods)
        text += f"listen port-{port}\n  bind {address}:{port}\n  balance roundrobin\n{servers}"
    file.write_text(text)
    return [HAPROXY or "haproxy", "-db", "-f", str(file)]

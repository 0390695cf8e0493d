"""HAProxy as the load balancer of a Service: one address, several ports, the same pods behind each port."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
ALL_READY_PORT = 8404  # answers 200 while every pod is ready
_HEAD = "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 5m\n  timeout server 5m\n  option redispatch 1\n"
_READINESS = "  option httpchk GET /readyz\n"


def command(file: Path, address: str, ports: Iterable[int], pods: Iterable[str], api_port: int = 0) -> list[str]:
    """Write the configuration of HAProxy for a Service, and return the command that runs HAProxy with it.

    A pod gets connections to a port while the port is open, and to that of the API while kube-apiserver is ready.
    """
    text, pods = _HEAD, list(pods)
    for port in ports:
        check, way = (_READINESS, "check check-ssl verify none") if port == api_port else ("", "check")
        servers = "".join(f"  server {each} {each}:{port} {way} inter 300ms\n" for each in pods)
        text += f"listen port-{port}\n  bind {address}:{port}\n  balance roundrobin\n{check}{servers}"
    if api_port:
        fails = f"  monitor fail if {{ nbsrv(port-{api_port}) lt {len(pods)} }}\n"
        text += f"frontend ready\n  mode http\n  bind {address}:{ALL_READY_PORT}\n  monitor-uri /\n{fails}"
    file.write_text(text)
    return [HAPROXY or "haproxy", "-db", "-f", str(file)]

"""Tenant control plane whose new pod is ready before the old one ends, as in the Deployments that Kamaji makes.

Owns a reader of a pod's log, which counts failures during such rollouts.
"""

from __future__ import annotations

import re
import subprocess
import threading
from types import TracebackType
from typing import Self

from cluster_client import Object
from load_balancer import ALL_READY_PORT
from management_cluster import ManagementCluster
from tenant_plane import TenantPlane

from support.kubectl_command import read_line
from support.waiting import until

_ECHO = 'exec 3<>/dev/tcp/127.0.0.1/%s; echo "$1" >&3; read -r line <&3; echo "$line"'
_PAUSE_S = 0.3


class RollingPlane(TenantPlane):
    """Tenant control plane with one pod, and a place for the next one."""

    def __init__(self, management: ManagementCluster, number: int, made: Object) -> None:
        super().__init__(management, number, made, replicas=2)
        self._at = -1

    def start_pods(self) -> None:
        self._at = (self._at + 1) % len(self.places)
        self.start_pod(self.places[self._at])
        self.pods[-1].wait_for_probe("kube-apiserver")

    def roll(self) -> None:
        """Start a pod of the current Deployment, and end the old one when the load balancer has both."""
        old, self.pods, self.servers = self.pods, [], []
        self.start_pods()
        url = f"http://{self.address}:{ALL_READY_PORT}/"
        within = self.management.namespaces.within(self.management.namespaces.hub)
        until(
            lambda: not subprocess.run([*within, "curl", "-sfo", "/dev/null", url], check=False).returncode,
            "both pods are ready",
        )
        for each in old:
            each.end()

    def works(self, timeout_s: float = 60) -> None:
        """Check that logs, exec, and port-forward reach a pod that only an agent can reach."""
        until(lambda: self.tenant.run("logs", "pod").returncode == 0, self._log_error, timeout_s)
        assert self.tenant.ok("exec", "-i", "pod", "--", "cat", stdin=b"hello") == b"hello"
        with self.tenant.running("port-forward", "pod/pod", ":80") as process:
            line = read_line(process)
            found = re.search(rb":(\d+) ->", line)
            assert found is not None, line
            within = self.management.namespaces.within(self.management.namespaces.hub)
            script = [*within, "bash", "-c", _ECHO % found[1].decode(), "bash", "over there"]
            assert subprocess.run(script, check=True, timeout=30, capture_output=True).stdout == b"over there\n"

    def _log_error(self) -> str:
        return self.tenant.run("logs", "pod").stderr.decode()


class LogReader:
    """Thread that reads a pod's log again and again while a block runs, by kubectl and the load balancer."""

    def __init__(self, plane: TenantPlane) -> None:
        self._plane, self._over = plane, threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.reads, self.failures = 0, list[str]()

    def _read(self) -> None:
        while not self._over.wait(_PAUSE_S):
            done = self._plane.tenant.run("logs", "pod")
            self.reads += 1
            if done.returncode or done.stdout.count(b"\n") != 10:
                self.failures.append(done.stderr.decode())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

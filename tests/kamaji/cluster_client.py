"""Client of one cluster: kubectl with one kubeconfig. Knows neither which cluster it is nor its objects."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Object = dict[str, Any]
T = TypeVar("T")
COMMAND_TIMEOUT_S = 60.0
WAIT_TIMEOUT_S = 75.0
_PAUSE_S = 0.3


class ClusterClient:
    """kubectl of one cluster.

    Args:
        kubectl: the command, with its kubeconfig, in the right network namespace.
    """

    def __init__(self, kubectl: Sequence[str]) -> None:
        self._kubectl = list(kubectl)

    def command(self, *arguments: str) -> list[str]:
        return [*self._kubectl, *arguments]

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run kubectl to its end and return the finished process."""
        return subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
        )

    def ok(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run kubectl, check that it succeeds, and return its output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def error(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run kubectl, check that it fails, and return its error text."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, done.stdout.decode()
        return done.stderr.decode()

    def get(self, namespace: str, kind: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        found = self.run("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found").stdout
        return json.loads(found) if found.strip() else None

    def there(self, namespace: str, kind: str, name: str) -> Object:
        """Return an object that must exist."""
        found = self.get(namespace, kind, name)
        assert found is not None, f"no {kind} {namespace}/{name}"
        return found

    def apply(self, *objects: Object) -> None:
        text = yaml.safe_dump_all(objects).encode()
        self.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def patch(self, namespace: str, kind: str, name: str, body: Object | str, *options: str) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.ok("-n", namespace, "patch", kind, name, "--type=merge", "-p", text, *options)

    def set_status(self, namespace: str, kind: str, name: str, status: Object) -> None:
        self.patch(namespace, kind, name, {"status": status}, "--subresource=status")

    def ready(self) -> bool:
        """Return whether the API server is ready and has its first namespaces."""
        return (
            self.run("get", "--raw", "/readyz").returncode == 0
            and self.run("get", "namespace", "default", "kube-system").returncode == 0
        )


def until(what: Callable[[], T], reason: str | Callable[[], str], timeout_s: float = WAIT_TIMEOUT_S) -> T:
    """Poll until `what` returns something true, and return that; `reason` explains a failure."""
    end = time.monotonic() + timeout_s
    while not (found := what()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {reason if isinstance(reason, str) else reason()}")
        time.sleep(_PAUSE_S)
    return found


def write_kubeconfig(path: Path, server: str, ca: Path, token: str) -> None:
    """Write the kubeconfig of a user with a static token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    path.write_text(json.dumps(config))

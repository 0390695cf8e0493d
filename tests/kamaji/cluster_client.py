"""Client of one cluster: kubectl with one kubeconfig, and the objects of Kubernetes as dictionaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from support.kubeconfig_file import kubeconfig
from support.kubectl_command import KubectlCommand

Object = dict[str, Any]


class ClusterClient(KubectlCommand):
    """kubectl of one cluster."""

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
        """Apply objects on the server's side, also fields that another client owns."""
        text = yaml.safe_dump_all(objects).encode()
        self.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def patch(self, namespace: str, kind: str, name: str, body: Object | str, *options: str) -> None:
        """Merge a patch, given as an object or as JSON, into an object."""
        text = body if isinstance(body, str) else json.dumps(body)
        self.ok("-n", namespace, "patch", kind, name, "--type=merge", "-p", text, *options)

    def set_status(self, namespace: str, kind: str, name: str, status: Object) -> None:
        """Set fields of the status of an object, as its controller does."""
        self.patch(namespace, kind, name, {"status": status}, "--subresource=status")


def write_kubeconfig(path: Path, server: str, ca: Path, token: str) -> None:
    """Write the kubeconfig of a user with a static token."""
    path.write_text(kubeconfig({"server": server, "certificate-authority": str(ca)}, {"token": token}))

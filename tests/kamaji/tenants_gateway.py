"""Gateway of tenants in the management cluster: a pod of the Deployment that `konnectivity manifests gateway` prints.

Owns the process of the pod. Does the work of a kubelet, which brings changed Secrets into the pod's volume.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import load_balancer
from management_cluster import ManagementCluster
from pod_runner import Pod
from pod_volumes import PodVolumes
from tenant_plane import SERVER

from support.waiting import until

NAMESPACE, NAME, DOMAIN = "konnectivity", "konnectivity-gateway", "gateway.example"
ADDRESS, PORT = "203.0.113.100", 8132
_ADMIN = "127.0.0.1:8133"


class TenantsGateway:
    """One pod of the gateway, with an address of its own."""

    def __init__(self, management: ManagementCluster) -> None:
        self._management = management
        self._place = management.namespaces.spoke("gateway")
        self._pod: Pod | None = None

    def start(self, *tenants: str) -> None:
        """Start the pod, to whose address the names of the tenants resolve."""
        management, namespaces = self._management, self._management.namespaces
        namespaces.add_address(namespaces.hub, ADDRESS)
        namespaces.add_host(ADDRESS, *(f"{each}.{DOMAIN}" for each in tenants))
        namespaces.add_host(self._place.address, f"{NAME}-peers.{NAMESPACE}.svc")
        file = management.path("gateway.cfg")
        management.run(*load_balancer.command(file, ADDRESS, [PORT], [self._place.address]))
        spec = management.client.there(NAMESPACE, "deployment", NAME)["spec"]["template"]["spec"]
        directory = management.path("gateway")
        volumes = PodVolumes(spec, NAMESPACE, management.client, directory / "volumes")
        self._pod = Pod(spec, volumes, directory, namespaces.within(self._place.namespace), namespaces.hosts)
        self._pod.start(SERVER)

    def stop(self) -> None:
        if self._pod is not None:
            self._pod.stop()

    def refresh(self) -> None:
        """Bring the Secrets of the tenants to the pod, as a kubelet does about once a minute."""
        assert self._pod is not None
        self._pod.volumes.refresh()

    def tenants(self) -> dict[str, dict[str, Any]]:
        """Return the tenants as the admin port has them, by name."""
        within = self._management.namespaces.within(self._place.namespace)
        command = [*within, sys.executable, "-m", "konnectivity.tool.cli", "tenants", f"--admin={_ADMIN}", "-o", "json"]
        found = subprocess.run(command, check=True, timeout=60, capture_output=True).stdout
        return {each["name"]: each for each in json.loads(found)}

    def wait_until_ready(self, *names: str) -> None:
        def ready() -> bool:
            found = self.tenants()
            return set(found) == set(names) and all(each["state"] == "ready" for each in found.values())

        until(ready, lambda: f"the gateway serves {names}: {self.tenants()}")

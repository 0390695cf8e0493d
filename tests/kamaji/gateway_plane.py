"""Tenant control plane behind a gateway, with the work of the gateway's controller, which accepts the routes."""

from __future__ import annotations

from cluster_client import Object
from management_cluster import TENANTS
from tenant_objects import GATEWAY_CONTROLLER, HOSTNAME
from tenant_plane import TenantPlane

from support.waiting import until

_TIME = "2026-01-01T00:00:00Z"


class GatewayPlane(TenantPlane):
    """Tenant control plane whose agents connect to a host name."""

    def expose(self) -> None:
        """Let the host name resolve to the load balancer, which stands for the gateway, and accept Kamaji's routes."""
        self.management.namespaces.add_host(self.address, HOSTNAME)
        for name in (self.name, f"{self.name}-konnectivity"):
            until(
                lambda: self.admin.get(TENANTS, "tlsroute", name),  # noqa: B023 - called before `name` changes
                lambda: f"Kamaji makes the route {name}:\n{self.management.manager.log[-3000:]}",  # noqa: B023
            )
            parents = [self._accepted(each) for each in self.route(name)["spec"]["parentRefs"]]
            self.admin.set_status(TENANTS, "tlsroute", name, {"parents": parents})

    def route(self, name: str) -> Object:
        return self.admin.there(TENANTS, "tlsroute", name)

    def _accepted(self, parent: Object) -> Object:
        conditions = [
            {"type": each, "status": "True", "reason": each, "message": "", "lastTransitionTime": _TIME}
            for each in ("Accepted", "ResolvedRefs")
        ]
        return {"parentRef": parent, "controllerName": GATEWAY_CONTROLLER, "conditions": conditions}

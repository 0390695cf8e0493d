"""TLSRoute of the Gateway API: the gateway selects by server name and passes TLS through."""

from __future__ import annotations

from collections.abc import Sequence

from konnectivity.tool.manifests import object_names
from konnectivity.tool.manifests.object_names import Object

VERSIONS = ("v1", "v1alpha3", "v1alpha2")  # v1 since Gateway API 1.5
LISTENER = object_names.SERVER


def tls_route(
    *,
    name: str,
    namespace: str,
    hostname: str,
    parents: Sequence[Object],
    service: str,
    port: int,
    version: str = VERSIONS[0],
) -> Object:
    """Return a route to the service's port. The gateway needs a TLS listener in mode Passthrough on that port."""
    return {
        "apiVersion": f"gateway.networking.k8s.io/{version}",
        "kind": "TLSRoute",
        "metadata": object_names.metadata(name, namespace),
        "spec": {
            "parentRefs": [{**parent, "port": port, "sectionName": LISTENER} for parent in parents],
            "hostnames": [hostname],
            "rules": [{"backendRefs": [{"name": service, "port": port}]}],
        },
    }

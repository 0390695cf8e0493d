"""A TLSRoute of the Gateway API: agents come to a gateway, which looks at the name and passes TLS through."""

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
    """To the service's port. The gateway needs a listener of that name and port, for TLS, mode Passthrough."""
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

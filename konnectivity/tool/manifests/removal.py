"""Objects to delete when konnectivity is removed: their identifying fields, for `kubectl delete -f -`."""

from __future__ import annotations

from collections.abc import Iterable

from konnectivity.tool.manifests import (
    agent_objects,
    agent_service_object,
    gateway,
    kamaji,
    object_names,
    rbac,
    sidecar,
)
from konnectivity.tool.manifests.object_names import Object
from konnectivity.tool.manifests.tenant_control_plane import Tenant


def cluster(namespace: str, lease_namespace: str) -> list[Object]:
    """Return all objects that these manifests create in a cluster, in any mode, except the leases' namespace."""
    made = [
        *agent_objects.objects(agent_objects.AgentManifest(servers=("none",), namespace=namespace, ca="none")),
        agent_objects.workload(
            agent_objects.AgentManifest(servers=("none",), namespace=namespace, mode=agent_objects.DEPLOYMENT)
        ),
        agent_objects.disruption_budget(namespace),
        *rbac.server(namespace, lease_namespace, pods=True, events=True),
        *rbac.agent(namespace, lease_namespace),
        agent_service_object.service(),
    ]
    return heads(made)


def tenant_cluster() -> list[Object]:
    """Return what Kamaji leaves in a tenant's cluster without the addon, and what these manifests add."""
    namespace = object_names.NAMESPACE
    made = [
        agent_objects.workload(agent_objects.AgentManifest(servers=("none",), namespace=namespace)),
        agent_objects.workload(
            agent_objects.AgentManifest(servers=("none",), namespace=namespace, mode=agent_objects.DEPLOYMENT)
        ),
        agent_objects.disruption_budget(namespace),
        agent_objects.service_account(namespace),
        rbac.auth_delegator(),
    ]
    return heads(made)


def admin_cluster(tenant: Tenant) -> list[Object]:
    """Return what Kamaji deletes in the admin cluster, and what it may leave."""
    egress, kubeconfig, certificate = kamaji.secret_names(tenant)
    kinds = [("v1", "ConfigMap", egress), ("v1", "Secret", kubeconfig), ("v1", "Secret", certificate)]
    if tenant.gateway:
        kinds.append((f"gateway.networking.k8s.io/{gateway.VERSIONS[0]}", "TLSRoute", f"{tenant.name}-konnectivity"))
    return [
        {"apiVersion": version, "kind": kind, "metadata": object_names.metadata(name, tenant.namespace)}
        for version, kind, name in kinds
    ]


def deployment_patch(tenant: Tenant) -> Object:
    """Return a strategic merge patch that takes a volume out of the tenant control plane's Deployment.

    Kamaji deletes the Secret of that volume when the addon is switched off, but keeps the volume, so that new pods
    cannot start.
    """
    volume = {"name": sidecar.KUBECONFIG_VOLUME, "$patch": "delete"}
    head = object_names.metadata(tenant.name, tenant.namespace)
    spec = {"template": {"spec": {"volumes": [volume]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec}


def heads(objects: Iterable[Object]) -> list[Object]:
    """Return kind, name and namespace of objects, and nothing else."""
    return [
        {
            "apiVersion": each["apiVersion"],
            "kind": each["kind"],
            "metadata": {key: value for key, value in each["metadata"].items() if key in ("name", "namespace")},
        }
        for each in objects
    ]

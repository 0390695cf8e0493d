"""Objects that Kamaji creates for a tenant control plane in both clusters, and patches of the addon with our images."""

from __future__ import annotations

import re
from dataclasses import dataclass

from konnectivity.tool.egress import egress_writer
from konnectivity.tool.manifests import (
    agent_objects,
    agent_service_object,
    extra_arguments,
    gateway,
    hardening,
    object_names,
    rbac,
    server_pod,
    sidecar,
)
from konnectivity.tool.manifests.object_names import ManifestError, Object
from konnectivity.tool.manifests.tenant_control_plane import AGENT_IMAGE, SERVER_IMAGE, Addon, Tenant

PKI = "/etc/kubernetes/pki"
_VERSION = re.compile(r"v?\d+\.(\d+)\b")
_DEFAULTS = {SERVER_IMAGE, AGENT_IMAGE}


@dataclass(frozen=True)
class Images:
    """Images to run. Empty: the tenant control plane's, with ours in place of the default."""

    server: str = ""
    agent: str = ""
    theirs: bool = False  # the default's place is its own


def addon_of(tenant: Tenant) -> Addon:
    """Return the konnectivity addon of a tenant control plane.

    Raises:
        ManifestError: the addon is disabled.

    """
    if tenant.addon is None:
        raise ManifestError(
            f"{tenant.namespace}/{tenant.name} has no spec.addons.konnectivity: the addon is off. "
            "To run server and agents without it, add --without-addon; "
            "to remove what it left, use `konnectivity manifests removal`"
        )
    return tenant.addon


def image(named: str, version: str, ours: str, tenant: Tenant) -> str:
    """Return image and tag as Kamaji composes them, or ours in place of the default.

    Raises:
        ManifestError: the tag would be the Kubernetes version, and no such image exists.

    """
    if ours and named in _DEFAULTS:
        return ours
    found = _VERSION.match(tenant.kubernetes_version)
    if not version and not found:
        raise ManifestError(f"spec.kubernetes.version: {tenant.kubernetes_version!r} gives no tag for {named}")
    return object_names.check_image(f"{named}:{version}" if version or not found else f"{named}:v0.{found[1]}.0")


def agent_settings(tenant: Tenant, images: Images) -> agent_objects.AgentManifest:
    """Return the settings of the agent in the tenant's cluster.

    Raises:
        ManifestError: the tenant has no addon, or no address for agents.

    """
    addon = addon_of(tenant)
    ours = addon.agent
    if not tenant.address:
        raise ManifestError(
            "no address for agents: status.controlPlaneEndpoint, spec.networkProfile.address and "
            "spec.controlPlane.gateway.hostname are empty; name it with --server"
        )
    built_in: extra_arguments.Flags = {
        "--admin-server-port": str(object_names.ADMIN_PORT),
        "--health-server-port": str(object_names.HEALTH_PORT),
        "--logtostderr": "true",
        "-v": "8",
    }
    return agent_objects.AgentManifest(
        servers=(tenant.address,),
        port=addon.server.port,
        image=images.agent
        or image(ours.image, ours.version, "" if images.theirs else object_names.AGENT_IMAGE, tenant),
        mode=ours.mode,
        replicas=ours.replicas,
        tolerations=ours.tolerations,
        host_network=ours.host_network,
        flags=built_in | extra_arguments.parsed_as_kamaji(ours.extra_args),
        volumes_may_be_replaced=True,  # by Kamaji, when the addon is switched on
    )


def tenant_objects(tenant: Tenant, images: Images) -> list[Object]:
    """Return all objects for the tenant's cluster."""
    return [rbac.auth_delegator(), *agent_objects.objects(agent_settings(tenant, images))]


def server_sidecar(tenant: Tenant, images: Images) -> sidecar.Sidecar:
    """Return the server for the pod of the tenant control plane, in the admin cluster."""
    wanted = addon_of(tenant).server
    flags = extra_arguments.parsed_as_kamaji(wanted.extra_args) | {  # extra arguments cannot change these flags
        **server_pod.base_flags(wanted.port, tenant.replicas, object_names.NAMESPACE),
        "--cluster-cert": f"{PKI}/apiserver.crt",
        "--cluster-key": f"{PKI}/apiserver.key",
        "--kubeconfig": f"/etc/kubernetes/{sidecar.KUBECONFIG_FILE}",
        "--mode": "grpc",
        "--uds-name": f"{sidecar.SOCKETS}/{server_pod.SOCKET}",
    }
    container: Object = {
        "name": object_names.SERVER,
        "image": images.server
        or image(wanted.image, wanted.version, "" if images.theirs else object_names.SERVER_IMAGE, tenant),
        "imagePullPolicy": "Always",
        "command": ["/proxy-server"],
        "args": extra_arguments.rendered(flags),
        "ports": server_pod.container_ports(flags),
        "livenessProbe": hardening.probe("/healthz", object_names.HEALTH_PORT, delay_s=30, timeout_s=60),
        "resources": hardening.SERVER_RESOURCES if wanted.resources is None else wanted.resources,
        "securityContext": (
            hardening.container_security() if wanted.security_context is None else wanted.security_context
        ),
        "volumeMounts": [
            {"name": "etc-kubernetes-pki", "mountPath": PKI, "readOnly": True},
            {
                "name": sidecar.KUBECONFIG_VOLUME,
                "mountPath": f"/etc/kubernetes/{sidecar.KUBECONFIG_FILE}",
                "subPath": sidecar.KUBECONFIG_FILE,
                "readOnly": True,
            },
            {"name": sidecar.UDS_VOLUME, "mountPath": sidecar.SOCKETS},
        ],
    }
    egress, kubeconfig, _ = secret_names(tenant)
    return sidecar.beside_apiserver(container, sidecar.shared_volumes(egress, kubeconfig))


def secret_names(tenant: Tenant) -> tuple[str, str, str]:
    """Return the names of the egress configuration, the kubeconfig and the certificate."""
    return (
        f"{tenant.name}-konnectivity-egress-selector-configuration",
        f"{tenant.name}-konnectivity-kubeconfig",
        f"{tenant.name}-konnectivity-certificate",
    )


def service_patch(tenant: Tenant) -> Object:
    """Return a strategic merge patch for the Service of the tenant control plane."""
    port = addon_of(tenant).server.port
    entry = agent_service_object.port_entry(
        port, port if tenant.service_type == agent_service_object.NODE_PORT else None
    )
    head = object_names.metadata(tenant.name, tenant.namespace)
    return {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": {"ports": [entry]}}


def route(tenant: Tenant, version: str) -> Object:
    """Return the TLSRoute of a tenant control plane.

    Raises:
        ManifestError: the tenant control plane has no gateway.

    """
    port = addon_of(tenant).server.port
    if tenant.gateway is None:
        raise ManifestError("spec.controlPlane.gateway: has no hostname, so there is no route")
    return gateway.tls_route(
        name=f"{tenant.name}-konnectivity",
        namespace=tenant.namespace,
        hostname=tenant.gateway.hostname,
        parents=tenant.gateway.parents,
        service=tenant.name,
        port=port,
        version=version,
    )


def server_config(tenant: Tenant, kubeconfig: str) -> list[Object]:
    """Return the ConfigMap and the Secret that the server's pod mounts; without the addon Kamaji makes neither.

    Args:
        tenant: the tenant control plane that the pod belongs to.
        kubeconfig: the text of the server's kubeconfig.

    """
    import yaml  # imported late: other commands start faster without it

    egress, secret, _ = secret_names(tenant)
    transport = egress_writer.uds(f"{sidecar.SOCKETS}/{server_pod.SOCKET}")
    document = egress_writer.document(egress_writer.GRPC, transport, ["cluster"], [])
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": object_names.metadata(egress, tenant.namespace),
            "data": {sidecar.EGRESS_FILE: yaml.safe_dump(document, sort_keys=False)},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": object_names.metadata(secret, tenant.namespace),
            "type": "Opaque",
            "stringData": {sidecar.KUBECONFIG_FILE: kubeconfig},
        },
    ]


def addon_patch(
    *,
    server_image: str = object_names.SERVER_IMAGE,
    agent_image: str = object_names.AGENT_IMAGE,
    port: int | None = None,
    mode: str | None = None,
    replicas: int | None = None,
    host_network: bool = False,
    tenant: Tenant | None = None,
) -> Object:
    """Return a merge patch for a TenantControlPlane that runs our images and changes nothing that was not asked for.

    Args:
        server_image: name and tag.
        agent_image: name and tag.
        port: the agents' port; None leaves it as it is.
        mode: of the agent; None leaves it as it is.
        replicas: of the agent's Deployment; None leaves them as they are.
        host_network: True sets the agent's hostNetwork; False leaves it as it is.
        tenant: the tenant control plane to be patched, if it is known: where its addon is off, the port is part of the
            patch, since the CRD requires it.

    Raises:
        ManifestError: Kamaji's rules are broken.

    """
    if tenant is not None and tenant.addon is None and port is None:
        port = object_names.AGENT_PORT
    if port is not None:
        server_pod.check_port(port)
    _check_replicas(mode, replicas, tenant)
    its_server: Object = _split(server_image) | ({} if port is None else {"port": port})
    its_agent: Object = _split(agent_image)
    if mode is not None:
        its_agent["mode"] = mode
    if replicas is not None:
        its_agent["replicas"] = replicas
    elif mode == agent_objects.DAEMON_SET:
        its_agent["replicas"] = None  # the CRD refuses the replicas of a former Deployment
    if host_network:
        its_agent["hostNetwork"] = True
    return {"spec": {"addons": {"konnectivity": {"server": its_server, "agent": its_agent}}}}


def _check_replicas(mode: str | None, replicas: int | None, tenant: Tenant | None) -> None:
    """Raise ManifestError if the CRD's rule is broken. Without mode and tenant the agent may be a Deployment."""
    if mode is None and tenant is not None:
        mode = tenant.addon.agent.mode if tenant.addon is not None else agent_objects.DAEMON_SET
    agent_objects.check_replicas(mode or agent_objects.DEPLOYMENT, replicas)


def _split(reference: str) -> Object:
    """Split an image into name and tag. A colon before the last slash belongs to a port."""
    name, colon, tag = object_names.check_image(reference).rpartition(":")
    if "@" in reference:
        raise ManifestError(f"{reference}: Kamaji puts a tag behind every name, so a digest cannot be used")
    if not colon or "/" in tag:
        raise ManifestError(f"{reference}: has no tag; without one Kamaji takes v0.<minor of Kubernetes>.0")
    return {"image": name, "version": tag}

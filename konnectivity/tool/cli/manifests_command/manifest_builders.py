"""Builders of objects, one for each kind of manifest. An option without effect is refused."""

from __future__ import annotations

import argparse
from dataclasses import replace

from konnectivity.tool.cli.manifests_command import input_files
from konnectivity.tool.manifests import (
    agent_objects,
    agent_service_object,
    apiserver_patch,
    extra_arguments,
    gateway,
    hardening,
    kamaji,
    object_names,
    rbac,
    removal,
    server_pod,
    sidecar,
    tenant_control_plane,
    toleration,
)
from konnectivity.tool.manifests.object_names import ManifestError, Object

_TENANT = ("tenant_file", "without_addon")
_OF_A_TENANT = (*_TENANT, "image", "kamaji_images")
_BECAUSE_OF_A_TENANT = "with --from-tenantcontrolplane, which says it"


def everything(options: argparse.Namespace) -> list[Object]:
    """Return the agent's objects and the roles of server and agent."""
    if options.tenant_file:
        return kamaji.tenant_objects(_addressed(options), _images(options))
    return [*rights_of(options), *agent_objects.objects(_agent(options))]


def its_agent(options: argparse.Namespace) -> list[Object]:
    if options.tenant_file:
        return agent_objects.objects(kamaji.agent_settings(_addressed(options), _images(options)))
    return agent_objects.objects(_agent(options))


def rights(options: argparse.Namespace) -> list[Object]:
    if options.tenant_file:
        input_files.only(options, _BECAUSE_OF_A_TENANT, *_TENANT)
        kamaji.addon_of(input_files.tenant_of(options))
        return [rbac.auth_delegator()]
    return rights_of(options, options.agent_identity_token, options.probe_node_events)


def rights_of(options: argparse.Namespace, pods: bool = False, events: bool = False) -> list[Object]:
    """Return the roles and bindings of server and agent."""
    made = rbac.server(options.namespace, options.leases, pods, events)
    if options.leases:
        made = rbac.lease_namespace(options.leases) + made + rbac.agent(options.namespace, options.leases)
    return made


def its_server(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        input_files.only(options, _BECAUSE_OF_A_TENANT, *_OF_A_TENANT, "into")
        found = input_files.tenant_of(options)
        beside = kamaji.server_sidecar(found, _images(options))
        if not options.into:
            return sidecar.deployment_patch(beside, found.name, found.namespace)
        return _put_into(beside, options.into)
    input_files.none(options, "without --from-tenantcontrolplane", "kamaji_images")
    settings = _server(options)
    if not options.into:
        input_files.none(options, "without --into", "tls_secret", "kubeconfig_secret", "egress_configmap")
        return server_pod.static_pod(settings)
    input_files.none(options, "with --into", "files", "sockets")
    beside = sidecar.hosted(
        settings,
        tls_secret=options.tls_secret,
        kubeconfig_secret=options.kubeconfig_secret,
        egress_config_map=options.egress_configmap,
    )
    return _put_into(beside, options.into)


def its_apiserver(options: argparse.Namespace) -> list[Object]:
    return apiserver_patch.static_pod_patch(options.files, options.sockets)


def its_service(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        input_files.only(options, _BECAUSE_OF_A_TENANT, *_TENANT)
        return kamaji.service_patch(input_files.tenant_of(options))
    return agent_service_object.service(options.type, options.port, options.node_port)


def route(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        input_files.only(options, _BECAUSE_OF_A_TENANT, *_TENANT, "api")
        return kamaji.route(input_files.tenant_of(options), options.api)
    if not options.hostname or not options.gateway:
        raise ManifestError("a route needs --hostname and --gateway")
    namespace, _, name = options.gateway.rpartition("/")
    parent: Object = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    return gateway.tls_route(
        name=object_names.SERVER,
        namespace=options.namespace,
        hostname=options.hostname,
        parents=[{**parent, "namespace": namespace} if namespace else parent],
        service=options.service,
        port=options.port,
        version=options.api,
    )


def remains(options: argparse.Namespace) -> list[Object] | Object:
    """Return the objects to delete."""
    if options.out_of:
        input_files.only(options, "with --out-of", "out_of")
        return sidecar.removed(input_files.manifest(options.out_of))
    if not options.tenant_file:
        input_files.none(options, "without --from-tenantcontrolplane", "admin", "deployment_patch")
        return removal.cluster(options.namespace, options.leases or object_names.LEASE_NAMESPACE)
    input_files.only(options, "with --from-tenantcontrolplane", "tenant_file", "admin", "deployment_patch")
    found = input_files.tenant_of(options)
    if found.addon is not None:
        raise ManifestError("has spec.addons.konnectivity: Kamaji would make anew what is deleted; take that out first")
    if options.deployment_patch:
        return removal.deployment_patch(found)
    return removal.admin_cluster(found) if options.admin else removal.tenant_cluster()


def addon(options: argparse.Namespace) -> Object:
    return kamaji.addon_patch(
        server_image=options.server_image,
        agent_image=options.agent_image,
        port=options.port,
        mode=options.mode,
        replicas=options.replicas,
        host_network=options.host_network,
        tenant=input_files.tenant_of(options) if options.tenant_file else None,
    )


def server_config(options: argparse.Namespace) -> list[Object]:
    """Return the ConfigMap and the Secret for the server beside a tenant's kube-apiserver."""
    if not options.tenant_file or not options.kubeconfig:
        raise input_files.Unusable("server-config needs --from-tenantcontrolplane FILE and --kubeconfig FILE")
    return kamaji.server_config(input_files.tenant_of(options), input_files.text_of(options.kubeconfig))


def _agent(options: argparse.Namespace) -> agent_objects.AgentManifest:
    input_files.none(options, "without --from-tenantcontrolplane", "kamaji_images")
    resources = {
        name: input_files.quantities(getattr(options, name), default)
        for name, default in hardening.AGENT_RESOURCES.items()
    }
    return agent_objects.AgentManifest(
        servers=[host for host in options.server.split(",") if host],
        port=options.port,
        image=options.image or object_names.AGENT_IMAGE,
        namespace=options.namespace,
        mode=options.mode,
        replicas=options.replicas,
        tolerations=[toleration.parse(each) for each in options.toleration] or [agent_objects.CRITICAL_ONLY],
        host_network=options.host_network,
        resources={name: quantities for name, quantities in resources.items() if quantities},
        flags=extra_arguments.parsed(options.extra_arg),
        ca=input_files.certificates(options.ca) if options.ca else "",
        lease_namespace=options.leases,
    )


def _server(options: argparse.Namespace) -> server_pod.ServerManifest:
    return server_pod.ServerManifest(
        image=options.image or object_names.SERVER_IMAGE,
        port=options.port,
        mode=options.mode,
        count=options.count,
        files=options.files,
        sockets=options.sockets,
        namespace=options.namespace,
        lease_namespace=options.leases,
        flags=extra_arguments.parsed(options.extra_arg),
    )


def _addressed(options: argparse.Namespace) -> tenant_control_plane.Tenant:
    """Return the tenant control plane, with the address for agents replaced if one was given."""
    input_files.only(options, _BECAUSE_OF_A_TENANT, *_OF_A_TENANT, "server")
    found = input_files.tenant_of(options)
    return replace(found, address=options.server) if options.server else found


def _images(options: argparse.Namespace) -> kamaji.Images:
    """Return the images of both programs; a command builds the manifests of one."""
    if options.kamaji_images:
        input_files.none(options, "with --kamaji-images", "image")
        return kamaji.Images(theirs=True)
    return kamaji.Images(options.image, options.image)


def _put_into(beside: sidecar.Sidecar, path: str) -> Object:
    try:
        return sidecar.added(beside, input_files.manifest(path))
    except ManifestError as error:
        raise input_files.Unusable(f"{path}: {error}") from None

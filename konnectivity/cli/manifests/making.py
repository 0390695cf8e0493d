"""From the options of each kind of manifest to its objects. Options without effect are refused."""

from __future__ import annotations

import argparse
from dataclasses import replace

from konnectivity.cli.manifests import given
from konnectivity.manifests import (
    agent,
    apiserver,
    arguments,
    gateway,
    hardening,
    kamaji,
    names,
    rbac,
    removal,
    server,
    service,
    sidecar,
    tenant,
    toleration,
)
from konnectivity.manifests.names import ManifestError, Object

_TENANT = ("tenant_file", "without_addon")
_OF_A_TENANT = (*_TENANT, "image", "kamaji_images")
_BECAUSE_OF_A_TENANT = "with --from-tenantcontrolplane, which says it"


def everything(options: argparse.Namespace) -> list[Object]:
    """Agent and rights."""
    if options.tenant_file:
        return kamaji.tenant_objects(_addressed(options), _images(options))
    return [*rights_of(options), *agent.objects(_agent(options))]


def its_agent(options: argparse.Namespace) -> list[Object]:
    if options.tenant_file:
        return agent.objects(kamaji.agent_settings(_addressed(options), _images(options)))
    return agent.objects(_agent(options))


def rights(options: argparse.Namespace) -> list[Object]:
    if options.tenant_file:
        given.only(options, _BECAUSE_OF_A_TENANT, *_TENANT)
        kamaji.addon_of(given.tenant_of(options))
        return [rbac.auth_delegator()]
    return rights_of(options, pods=options.agent_identity_token)


def rights_of(options: argparse.Namespace, pods: bool = False) -> list[Object]:
    """Those of server and agent."""
    made = rbac.server(options.namespace, options.leases, pods)
    if options.leases:
        made = rbac.lease_namespace(options.leases) + made + rbac.agent(options.namespace, options.leases)
    return made


def its_server(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        given.only(options, _BECAUSE_OF_A_TENANT, *_OF_A_TENANT, "into")
        found = given.tenant_of(options)
        beside = kamaji.server_sidecar(found, _images(options))
        if not options.into:
            return sidecar.deployment_patch(beside, found.name, found.namespace)
        return _put_into(beside, options.into)
    given.none(options, "without --from-tenantcontrolplane", "kamaji_images")
    settings = _server(options)
    if not options.into:
        given.none(options, "without --into", "tls_secret", "kubeconfig_secret", "egress_configmap")
        return server.static_pod(settings)
    given.none(options, "with --into", "files", "sockets")
    beside = sidecar.hosted(
        settings,
        tls_secret=options.tls_secret,
        kubeconfig_secret=options.kubeconfig_secret,
        egress_config_map=options.egress_configmap,
    )
    return _put_into(beside, options.into)


def its_apiserver(options: argparse.Namespace) -> list[Object]:
    return apiserver.static_pod_patch(options.files, options.sockets)


def its_service(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        given.only(options, _BECAUSE_OF_A_TENANT, *_TENANT)
        return kamaji.service_patch(given.tenant_of(options))
    return service.service(options.type, options.port, options.node_port)


def route(options: argparse.Namespace) -> Object:
    if options.tenant_file:
        given.only(options, _BECAUSE_OF_A_TENANT, *_TENANT, "api")
        return kamaji.route(given.tenant_of(options), options.api)
    if not options.hostname or not options.gateway:
        raise ManifestError("a route needs --hostname and --gateway")
    namespace, _, name = options.gateway.rpartition("/")
    parent: Object = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    return gateway.tls_route(
        name=names.SERVER,
        namespace=options.namespace,
        hostname=options.hostname,
        parents=[{**parent, "namespace": namespace} if namespace else parent],
        service=options.service,
        port=options.port,
        version=options.api,
    )


def remains(options: argparse.Namespace) -> list[Object] | Object:
    """What is to be deleted."""
    if options.out_of:
        given.only(options, "with --out-of", "out_of")
        return sidecar.removed(given.manifest(options.out_of))
    if not options.tenant_file:
        given.none(options, "without --from-tenantcontrolplane", "admin", "deployment_patch")
        return removal.cluster(options.namespace, options.leases or names.LEASE_NAMESPACE)
    given.only(options, "with --from-tenantcontrolplane", "tenant_file", "admin", "deployment_patch")
    found = given.tenant_of(options)
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
        tenant=given.tenant_of(options) if options.tenant_file else None,
    )


def server_config(options: argparse.Namespace) -> list[Object]:
    """Return the ConfigMap and the Secret for the server beside a tenant's kube-apiserver."""
    if not options.tenant_file or not options.kubeconfig:
        raise given.Unusable("server-config needs --from-tenantcontrolplane FILE and --kubeconfig FILE")
    return kamaji.server_config(given.tenant_of(options), given.text_of(options.kubeconfig))


def _agent(options: argparse.Namespace) -> agent.Agent:
    given.none(options, "without --from-tenantcontrolplane", "kamaji_images")
    resources = {
        name: given.quantities(getattr(options, name), default) for name, default in hardening.AGENT_RESOURCES.items()
    }
    return agent.Agent(
        servers=[host for host in options.server.split(",") if host],
        port=options.port,
        image=options.image or names.AGENT_IMAGE,
        namespace=options.namespace,
        mode=options.mode,
        replicas=options.replicas,
        tolerations=[toleration.parse(each) for each in options.toleration] or [agent.CRITICAL_ONLY],
        host_network=options.host_network,
        resources={name: quantities for name, quantities in resources.items() if quantities},
        flags=arguments.parsed(options.extra_arg),
        ca=given.certificates(options.ca) if options.ca else "",
        lease_namespace=options.leases,
    )


def _server(options: argparse.Namespace) -> server.Server:
    return server.Server(
        image=options.image or names.SERVER_IMAGE,
        port=options.port,
        mode=options.mode,
        count=options.count,
        files=options.files,
        sockets=options.sockets,
        namespace=options.namespace,
        lease_namespace=options.leases,
        flags=arguments.parsed(options.extra_arg),
    )


def _addressed(options: argparse.Namespace) -> tenant.Tenant:
    """The tenant; agents may be told another address than its own."""
    given.only(options, _BECAUSE_OF_A_TENANT, *_OF_A_TENANT, "server")
    found = given.tenant_of(options)
    return replace(found, address=options.server) if options.server else found


def _images(options: argparse.Namespace) -> kamaji.Images:
    """For either program: a command makes manifests of one of them."""
    if options.kamaji_images:
        given.none(options, "with --kamaji-images", "image")
        return kamaji.Images(theirs=True)
    return kamaji.Images(options.image, options.image)


def _put_into(beside: sidecar.Sidecar, path: str) -> Object:
    try:
        return sidecar.added(beside, given.manifest(path))
    except ManifestError as error:
        raise given.Unusable(f"{path}: {error}") from None

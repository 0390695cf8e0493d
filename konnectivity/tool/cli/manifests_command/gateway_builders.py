"""Builders of the objects of a gateway and of its tenants."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from konnectivity.tool.cli.manifests_command import gateway_options, input_files
from konnectivity.tool.manifests import (
    agent_objects,
    extra_arguments,
    gateway_move,
    gateway_objects,
    gateway_tenant,
    kamaji,
    tenant_control_plane,
)
from konnectivity.tool.manifests.gateway_tenant import GatewayTenant
from konnectivity.tool.manifests.object_names import Object

_NAMES = ("name", "part", "domain", "server_name", "namespace", "port", "shards", "leases", "tenant_file")
_CERTIFICATES = ("agent_certificates", "pki")
_FILE_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def its_gateway(options: argparse.Namespace) -> list[Object]:
    resources = {
        name: input_files.quantities(getattr(options, name), default)
        for name, default in gateway_objects.RESOURCES.items()
    }
    if options.max_replicas is None:
        input_files.none(options, "without --max-replicas", "cpu_percent", "tunnels")
    if options.no_peers:
        input_files.none(options, "with --no-peers", "peer_secret")
    return gateway_objects.objects(
        gateway_objects.GatewayManifest(
            image=options.image,
            namespace=options.namespace,
            port=options.port,
            replicas=options.replicas,
            max_replicas=options.max_replicas,
            cpu_percent=options.cpu_percent,
            tunnels=options.tunnels,
            shards=options.shards,
            tls_secret=options.tls_secret,
            peers=not options.no_peers,
            peer_secret=options.peer_secret,
            admin_token_secret=options.admin_token_secret,
            service_type=options.type,
            node_port=options.node_port,
            networks=gateway_objects.networks(options.allow_from),
            resources={name: quantities for name, quantities in resources.items() if quantities},
            flags=extra_arguments.parsed(options.extra_arg),
        )
    )


def its_tenant(options: argparse.Namespace) -> Any:
    """Return one part of the objects of a tenant."""
    return _PARTS[options.part](options)


def _secrets(options: argparse.Namespace) -> list[Object]:
    allowed = ("gateway_ca", "kubeconfig", "gateway_address", "apiserver_namespace", "admin_token_sha256")
    input_files.only(options, "with --part secrets", *_NAMES, *_CERTIFICATES, *allowed)
    called = bool(options.leases) or not options.agent_certificates
    _need(options, *(["kubeconfig"] if called else []), "gateway_ca")
    if not called:
        input_files.none(options, "with --agent-certificates and without --leases", "kubeconfig")
    tenant, folder = _tenant(options), Path(options.pki)
    entry = gateway_tenant.entry(
        tenant,
        input_files.certificates(str(folder / "frontend-ca.crt")),
        agents_ca=input_files.certificates(str(folder / "ca.crt")) if tenant.certificates else "",
        kubeconfig=_kubeconfig(options.kubeconfig) if called else "",
    )
    secret = gateway_tenant.apiserver_secret(
        tenant,
        _apiserver_namespace(options),
        input_files.certificates(options.gateway_ca),
        input_files.certificates(str(folder / "client.crt")),
        input_files.text_of(str(folder / "client.key")),
    )
    return [entry, secret]


def _apiserver_namespace(options: argparse.Namespace) -> str:
    if options.tenant_file and not options.apiserver_namespace:
        return tenant_control_plane.parse(input_files.manifest(options.tenant_file)).namespace
    return str(options.apiserver_namespace or options.namespace)


def _agents(options: argparse.Namespace) -> list[Object]:
    _need(options, "gateway_ca")
    allowed = ("gateway_ca", "agent_image", "mode", "replicas", "host_network")
    input_files.only(options, "with --part agents", *_NAMES, *_CERTIFICATES, *allowed)
    tenant = _tenant(options)
    made = gateway_tenant.agents(tenant, input_files.certificates(options.gateway_ca), _like(options, tenant))
    if not tenant.certificates:
        input_files.none(options, "with --part agents and without --agent-certificates", "pki")
        return made
    folder = Path(options.pki)
    certificate, key = str(folder / "agent.crt"), str(folder / "agent.key")
    secret = gateway_tenant.agents_secret(tenant, input_files.certificates(certificate), input_files.text_of(key))
    return [secret, *made]


def _like(options: argparse.Namespace, tenant: GatewayTenant) -> agent_objects.AgentManifest:
    """Return the settings of the agents, those of the TenantControlPlane's addon if there is one."""
    if not options.tenant_file:
        return agent_objects.AgentManifest(
            servers=(tenant.server_name,),
            image=options.agent_image,
            mode=options.mode,
            replicas=options.replicas,
            host_network=options.host_network,
        )
    input_files.none(options, "with --from-tenantcontrolplane, which says it", "mode", "replicas", "host_network")
    found = tenant_control_plane.parse(input_files.manifest(options.tenant_file))
    addon = found.addon or tenant_control_plane.Addon()
    given = options.agent_image != options.parser.get_default("agent_image")
    images = kamaji.Images(agent=options.agent_image if given else "")
    return kamaji.agent_settings(replace(found, addon=addon, address=tenant.server_name), images)


def _patch(make: Callable[[Object], Object]) -> Callable[[argparse.Namespace], Object]:
    def run(options: argparse.Namespace) -> Object:
        _need(options, "tenant_file")
        input_files.only(options, f"with --part {options.part}", "name", "part", "tenant_file")
        found = input_files.manifest(options.tenant_file)
        its = tenant_control_plane.parse(found).name
        if its != options.name:
            raise input_files.Unusable(f"{options.tenant_file} is of {its}, not of {options.name}")
        return make(found)

    return run


def _removal(options: argparse.Namespace) -> list[Object]:
    input_files.only(options, "with --part removal", "name", "part", "namespace", "shards")
    tenant = GatewayTenant(
        name=options.name, server_name=options.name, gateway_namespace=options.namespace, shards=options.shards
    )
    return [gateway_tenant.no_entry(tenant)]


def _tenant(options: argparse.Namespace) -> GatewayTenant:
    if bool(options.domain) == bool(options.server_name):
        raise input_files.Unusable("give the tenant's server name: --domain DOMAIN, or --server-name HOST")
    return GatewayTenant(
        name=options.name,
        server_name=options.server_name or f"{options.name}.{options.domain}",
        port=options.port,
        gateway_address=options.gateway_address,
        gateway_namespace=options.namespace,
        shards=options.shards,
        lease_namespace=options.leases,
        certificates=options.agent_certificates,
        admin_tokens=tuple(options.admin_token_sha256),
    )


def _need(options: argparse.Namespace, *names: str) -> None:
    flags = {"tenant_file": "--from-tenantcontrolplane FILE"}
    missing = [flags.get(name, f"--{name.replace('_', '-')} FILE") for name in names if not getattr(options, name)]
    if missing:
        raise input_files.Unusable(f"--part {options.part} needs {' and '.join(missing)}")


def _kubeconfig(path: str) -> str:
    """Return the text of a kubeconfig that is complete in itself: the gateway has no other file of the tenant."""
    found = input_files.manifest(path)
    waiting: list[Any] = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if outside := [name for name in _FILE_FIELDS if value.get(name)]:
                raise input_files.Unusable(
                    f"{path} names a file ({outside[0]}), which the gateway does not have; `konnectivity kubeconfig` "
                    "writes the content itself"
                )
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return input_files.text_of(path)


_PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    gateway_options.SECRETS: _secrets,
    gateway_options.AGENTS: _agents,
    gateway_options.KAMAJI_BOTH: _patch(gateway_move.beside_addon),
    gateway_options.KAMAJI_PATCH: _patch(gateway_move.onto_gateway),
    gateway_options.KAMAJI_BACK: _patch(gateway_move.off_gateway),
    gateway_options.REMOVAL: _removal,
}

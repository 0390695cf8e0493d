"""Tenant of a gateway: its files in a Secret of many tenants, the mounts of its kube-apiserver, its agents.

The files of a tenant are keys of one of the Secrets: `NAME.yaml`, `NAME.frontend-ca.crt`, and `NAME.kubeconfig` for
token reviews and leases, or `NAME.agents-ca.crt` for agents that show certificates. Server-side apply with a field
manager for each tenant changes these keys and no others.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from konnectivity.net.addresses import shown
from konnectivity.tool.egress import egress_writer
from konnectivity.tool.manifests import agent_objects, gateway_objects, object_names, rbac, sidecar
from konnectivity.tool.manifests.object_names import ManifestError, Object

AGENTS = (
    "konnectivity-gateway-agent"  # apart from the agents of a server beside the kube-apiserver, of the same cluster
)
_AGENTS_SECRET = f"{AGENTS}-tls"
VOLUME = "konnectivity-gateway"
DIRECTORY = "/etc/kubernetes/konnectivity/gateway"
CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
# On the network of a host, the agents beside which these run have the default ports.
_PORTS_ON_THE_HOST = {"--health-server-port": "8097", "--admin-server-port": "8098"}


@dataclass(frozen=True, kw_only=True)
class GatewayTenant:
    """Settings of one tenant of a gateway."""

    name: str
    server_name: str  # TLS server name by which agents and kube-apiserver reach the tenant
    port: int = object_names.AGENT_PORT
    gateway_address: str = ""  # host:port of the gateway for kube-apiserver; empty: server name and port
    gateway_namespace: str = gateway_objects.NAMESPACE
    shards: int = gateway_objects.SHARDS
    agent_namespace: str = object_names.NAMESPACE
    lease_namespace: str = ""  # empty: the gateway publishes no leases in the tenant's cluster
    admin_tokens: Sequence[str] = ()  # SHA-256 digests of tokens that show this tenant on the admin port
    certificates: bool = False  # agents show certificates of the tenant's own CA, in place of tokens

    def __post_init__(self) -> None:
        check_tenant_name(self.name)
        object_names.check_name(self.server_name)
        gateway_objects.check_shards(self.shards)


def check_tenant_name(text: str) -> str:
    """Return the name of a tenant.

    Raises:
        ManifestError: the gateway would refuse the name.

    """
    try:
        return object_names.check_namespace(text)
    except ManifestError:
        raise ManifestError(
            f"{shown(text)!r} is not a name of a tenant: write lower-case letters, digits and hyphens, at most 63"
        ) from None


def shard_of(name: str, shards: int) -> int:
    """Return the number of the Secret that holds a tenant's files."""
    return zlib.crc32(name.encode()) % shards


def file_of_tenant(tenant: GatewayTenant) -> str:
    """Return the tenant's file for the gateway, which verifies certificates or has the tenant's API review tokens."""
    lines = {"server-names": tenant.server_name, "server-ca-cert": f"{tenant.name}.frontend-ca.crt"}
    if tenant.certificates:
        lines["cluster-ca-cert"] = f"{tenant.name}.agents-ca.crt"
    else:
        lines |= {
            "agent-namespace": tenant.agent_namespace,
            "agent-service-account": AGENTS,
            "authentication-audience": object_names.AUDIENCE,
        }
    if tenant.lease_namespace or not tenant.certificates:
        lines["kubeconfig"] = f"{tenant.name}.kubeconfig"
    if tenant.lease_namespace:
        lines |= {"enable-lease-controller": "true", "lease-namespace": tenant.lease_namespace}
    if tenant.admin_tokens:
        lines["admin-token-sha256"] = ",".join(tenant.admin_tokens)
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def entry(tenant: GatewayTenant, frontend_ca: str, *, agents_ca: str = "", kubeconfig: str = "") -> Object:
    """Return the tenant's part of the Secret that holds its files.

    Args:
        tenant: the tenant.
        frontend_ca: PEM of the CA of its kube-apiserver's client certificate.
        agents_ca: PEM of the CA of its agents' certificates, if they show certificates.
        kubeconfig: text of the kubeconfig with which the gateway calls the tenant's API, if the gateway does.

    Raises:
        ManifestError: the files are larger than a Secret may be.

    """
    contents = {
        "yaml": file_of_tenant(tenant),
        "frontend-ca.crt": frontend_ca,
        "agents-ca.crt": agents_ca,
        "kubeconfig": kubeconfig,
    }
    files = {f"{tenant.name}.{suffix}": content for suffix, content in contents.items() if content}
    if sum(map(len, files.values())) > gateway_objects.MAX_SECRET:
        raise ManifestError(f"the files of {tenant.name} are larger than the 1 MiB of a Secret")
    return no_entry(tenant) | {"data": _encoded(files)}


def no_entry(tenant: GatewayTenant) -> Object:
    """Return the Secret without the tenant's part: applied by the tenant's field manager, it takes that part away."""
    name = gateway_objects.shard_name(shard_of(tenant.name, tenant.shards))
    labels = object_names.labels(gateway_objects.NAME)
    head = object_names.metadata(name, tenant.gateway_namespace, labels)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": head, "type": "Opaque"}


def apiserver_secret(tenant: GatewayTenant, namespace: str, gateway_ca: str, certificate: str, key: str) -> Object:
    """Return the Secret that kube-apiserver mounts at `DIRECTORY`: egress configuration, CA, client certificate.

    Args:
        tenant: the tenant.
        namespace: namespace of the kube-apiserver.
        gateway_ca: PEM of the CA of the gateway's certificate.
        certificate: PEM of the client certificate.
        key: PEM of its key.

    """
    import yaml  # imported late: other commands start faster without it

    address = tenant.gateway_address or f"{tenant.server_name}:{tenant.port}"
    name = tenant.server_name if tenant.gateway_address else ""
    ca, shown_certificate, its_key = (f"{DIRECTORY}/{file}" for file in (CA, CERTIFICATE, KEY))
    transport = egress_writer.tcp(f"https://{address}", ca, shown_certificate, its_key, name)
    document = egress_writer.document(egress_writer.HTTP_CONNECT, transport, ["cluster"], [])
    files = {
        sidecar.EGRESS_FILE: yaml.safe_dump(document, sort_keys=False),
        CA: gateway_ca,
        CERTIFICATE: certificate,
        KEY: key,
    }
    return _tls_secret(secret_name(tenant.name), namespace, files)


def agents_secret(tenant: GatewayTenant, certificate: str, key: str) -> Object:
    """Return the Secret with the certificate of the agents, for the tenant's cluster.

    Args:
        tenant: the tenant.
        certificate: PEM of the client certificate.
        key: PEM of its key.

    """
    labels = object_names.labels(AGENTS)
    return _tls_secret(_AGENTS_SECRET, tenant.agent_namespace, {CERTIFICATE: certificate, KEY: key}, labels)


def secret_name(tenant: str) -> str:
    """Return the name of the Secret that a tenant's kube-apiserver mounts."""
    return f"{tenant}-{VOLUME}"


def agents(tenant: GatewayTenant, gateway_ca: str, like: agent_objects.AgentManifest) -> list[Object]:
    """Return all objects for the tenant's cluster: rights of the gateway, and agents that dial the server name.

    Args:
        tenant: the tenant.
        gateway_ca: PEM of the CA of the gateway's certificate.
        like: settings of the agents, except what the tenant decides.

    """
    leases = tenant.lease_namespace
    ports = _PORTS_ON_THE_HOST if like.host_network else {}
    made = rbac.server(tenant.agent_namespace, leases, tokens=not tenant.certificates)
    if leases:
        made = [*rbac.lease_namespace(leases), *made, *rbac.agent(tenant.agent_namespace, leases, AGENTS)]
    return made + agent_objects.objects(
        replace(
            like,
            name=AGENTS,
            namespace=tenant.agent_namespace,
            servers=(tenant.server_name,),
            port=tenant.port,
            ca=gateway_ca,
            lease_namespace=leases,
            flags={**like.flags, **ports},
            volumes_may_be_replaced=False,
            certificate_secret=_AGENTS_SECRET if tenant.certificates else "",
        )
    )


def _tls_secret(name: str, namespace: str, files: Mapping[str, str], labels: Object | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": object_names.metadata(name, namespace, labels),
        "type": "kubernetes.io/tls",
        "data": _encoded(files),
    }


def _encoded(files: Mapping[str, str]) -> Object:
    return {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}

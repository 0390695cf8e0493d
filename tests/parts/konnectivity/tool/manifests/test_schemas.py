"""All generated objects, against the schemas that Kubernetes publishes, of an old and a new version."""

from __future__ import annotations

import itertools

import kubernetes_validate
import pytest
import yaml

from konnectivity.tool.manifests import (
    agent_objects,
    agent_service_object,
    gateway_objects,
    gateway_tenant,
    rbac,
    removal,
    server_pod,
    sidecar,
)

VERSIONS = ("1.28", "1.36")
HOST = ("203.0.113.7",)
TWELVE = {"requests": {"cpu": "1", "memory": "12Mi"}}
API_SERVER = {"name": "kube-apiserver", "image": "kube-apiserver", "command": ["kube-apiserver", "--secure-port=6443"]}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "control-plane"}, "spec": {"containers": [API_SERVER]}}
BESIDE = sidecar.hosted(
    server_pod.ServerManifest(), tls_secret="server", kubeconfig_secret="kubeconfig", egress_config_map="egress"
)


def valid(made, strict=True):
    assert "&id" not in yaml.safe_dump(made), "an alias: one object in two places"
    for version in VERSIONS:
        kubernetes_validate.validate(made, version, strict=strict)


def test_a_mistake_would_be_found():
    made = server_pod.static_pod(server_pod.ServerManifest())
    made["spec"]["hostNetwrk"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetwrk"):
        valid(made)


@pytest.mark.parametrize(
    ("mode", "host_network", "ca", "leases"),
    list(itertools.product(agent_objects.MODES, (False, True), ("", "PEM"), ("", "konnectivity"))),
)
def test_agents(mode, host_network, ca, leases):
    replicas = 3 if mode == agent_objects.DEPLOYMENT else None
    made = agent_objects.AgentManifest(
        servers=HOST,
        mode=mode,
        replicas=replicas,
        host_network=host_network,
        ca=ca,
        lease_namespace=leases,
        resources=TWELVE,
        tolerations=(agent_objects.EVERYWHERE,),
    )
    for each in agent_objects.objects(made):
        valid(each)


def test_rights():
    rights = [*rbac.server("agents", "leases", pods=True), *rbac.agent("agents", "leases"), rbac.auth_delegator()]
    for each in rights + rbac.lease_namespace("leases"):
        valid(each)


def test_the_server_as_a_static_pod():
    valid(server_pod.static_pod(server_pod.ServerManifest()))
    valid(server_pod.static_pod(server_pod.ServerManifest(lease_namespace="leases", flags={"--v": "2"})))


def test_the_server_beside_a_kube_apiserver():
    valid(sidecar.added(BESIDE, POD))
    valid(sidecar.removed(sidecar.added(BESIDE, POD)))


@pytest.mark.parametrize("type_", agent_service_object.TYPES)
def test_services(type_):
    valid(agent_service_object.service(type_, 30132, 30132 if type_ == agent_service_object.NODE_PORT else None))


@pytest.mark.parametrize("type_", agent_service_object.TYPES)
def test_a_gateway(type_):
    networks = ("192.0.2.0/24", "2001:db8::/32")
    for each in gateway_objects.objects(
        gateway_objects.GatewayManifest(service_type=type_, max_replicas=9, tunnels=2000, networks=networks)
    ):
        valid(each)


def test_a_tenant_of_a_gateway():
    tenant = gateway_tenant.GatewayTenant(name="a", server_name="a.example", lease_namespace="leases")
    made = [gateway_tenant.entry(tenant, "PEM"), gateway_tenant.no_entry(tenant)]
    made += [gateway_tenant.entry(tenant, "PEM", agents_ca="PEM", kubeconfig="{}")]
    made += [gateway_tenant.apiserver_secret(tenant, "tenants", "CA", "CERT", "KEY")]
    for each in made + gateway_tenant.agents(tenant, "PEM", agent_objects.AgentManifest(servers=HOST)):
        valid(each)


def test_what_is_to_be_removed_has_kinds_and_names():
    """Objects for `kubectl delete` are incomplete but have everything that the command reads."""
    for each in removal.cluster("agents", "leases"):
        assert set(each) == {"apiVersion", "kind", "metadata"}
        assert each["metadata"]["name"]

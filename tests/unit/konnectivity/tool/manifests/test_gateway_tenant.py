"""Tests of one tenant of a gateway: its files, the Secret of its kube-apiserver, its agents."""

from __future__ import annotations

import base64
from collections import Counter

import pytest
import yaml

from konnectivity.tool.manifests import agent_objects, gateway_tenant
from konnectivity.tool.manifests.object_names import ManifestError

ONE = {"name": "tenant-1", "server_name": "tenant-1.gateway.example"}


def tenant(**settings):
    return gateway_tenant.GatewayTenant(**{**ONE, **settings})


def files(secret):
    return {name: base64.b64decode(content).decode() for name, content in secret["data"].items()}


def test_the_files_of_a_tenant_have_its_name_and_name_each_other():
    found = files(gateway_tenant.entry(tenant(), "PEM", kubeconfig="kubeconfig"))
    assert set(found) == {"tenant-1.yaml", "tenant-1.frontend-ca.crt", "tenant-1.kubeconfig"}
    settings = yaml.safe_load(found["tenant-1.yaml"])
    assert settings["server-names"] == "tenant-1.gateway.example"
    assert (settings["server-ca-cert"], settings["kubeconfig"]) == ("tenant-1.frontend-ca.crt", "tenant-1.kubeconfig")
    assert settings["agent-service-account"] == "konnectivity-gateway-agent"
    assert "enable-lease-controller" not in settings


def test_with_leases_the_gateway_publishes_them_and_the_agents_count_them():
    found = tenant(lease_namespace="konnectivity")
    settings = yaml.safe_load(files(gateway_tenant.entry(found, "PEM"))["tenant-1.yaml"])
    assert (settings["enable-lease-controller"], settings["lease-namespace"]) == (True, "konnectivity")
    objects = gateway_tenant.agents(found, "PEM", agent_objects.AgentManifest(servers=("a",)))
    (workload,) = [each for each in objects if each["kind"] == "DaemonSet"]
    arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--count-server-leases=true", "--lease-namespace=konnectivity"} <= set(arguments)
    (binding,) = [
        each
        for each in objects
        if (each["kind"], each["metadata"]["name"]) == ("RoleBinding", f"{gateway_tenant.AGENTS}-leases")
    ]
    assert binding["subjects"][0]["name"] == gateway_tenant.AGENTS


def test_agents_with_certificates_need_no_kubeconfig_no_token_and_no_rights():
    found = tenant(certificates=True)
    stored = files(gateway_tenant.entry(found, "PEM", agents_ca="CA"))
    assert set(stored) == {"tenant-1.yaml", "tenant-1.frontend-ca.crt", "tenant-1.agents-ca.crt"}
    settings = yaml.safe_load(stored["tenant-1.yaml"])
    assert settings["cluster-ca-cert"] == "tenant-1.agents-ca.crt"
    assert not {"kubeconfig", "agent-service-account", "authentication-audience"} & set(settings)
    objects = gateway_tenant.agents(found, "PEM", agent_objects.AgentManifest(servers=("a",)))
    assert [each["kind"] for each in objects] == ["ServiceAccount", "ConfigMap", "DaemonSet"]
    spec = objects[-1]["spec"]["template"]["spec"]
    secret = gateway_tenant.agents_secret(found, "PEM", "KEY")
    assert spec["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"]
    assert not [each for each in spec["containers"][0]["args"] if "token" in each]


def test_tokens_of_the_admin_port_are_those_of_the_tenant():
    stored = files(gateway_tenant.entry(tenant(admin_tokens=("ab" * 32, "cd" * 32)), "PEM"))
    assert yaml.safe_load(stored["tenant-1.yaml"])["admin-token-sha256"] == f"{'ab' * 32},{'cd' * 32}"


def test_agents_with_certificates_may_count_leases():
    found = tenant(certificates=True, lease_namespace="konnectivity")
    settings = yaml.safe_load(
        files(gateway_tenant.entry(found, "PEM", agents_ca="CA", kubeconfig="K"))["tenant-1.yaml"]
    )
    assert settings["kubeconfig"] == "tenant-1.kubeconfig"
    objects = gateway_tenant.agents(found, "PEM", agent_objects.AgentManifest(servers=("a",)))
    roles = {each["metadata"]["name"] for each in objects if "Role" in each["kind"]}
    assert roles == {"konnectivity-server-leases", f"{gateway_tenant.AGENTS}-leases"}


def test_the_removal_is_the_same_secret_without_the_files():
    made = gateway_tenant.entry(tenant(), "PEM", kubeconfig="kubeconfig")
    del made["data"]
    assert gateway_tenant.no_entry(tenant()) == made


def test_tenants_are_spread_over_the_secrets_and_each_stays_in_its_own():
    found = Counter(gateway_tenant.shard_of(f"tenant-{number}", 16) for number in range(1600))
    assert len(found) == 16
    assert max(found.values()) < 200
    assert gateway_tenant.shard_of("tenant-1", 16) == 15


def test_a_secret_holds_a_mebibyte():
    with pytest.raises(ManifestError, match="larger than the 1 MiB"):
        gateway_tenant.entry(tenant(), "PEM", kubeconfig="x" * 1024 * 1024)


@pytest.mark.parametrize(
    ("address", "url", "name"),
    [
        ("", "https://tenant-1.gateway.example:8132", None),
        ("gateway.k.svc:8132", "https://gateway.k.svc:8132", "tenant-1.gateway.example"),
    ],
)
def test_kube_apiserver_dials_by_the_name_that_names_the_tenant(address, url, name):
    made = gateway_tenant.apiserver_secret(tenant(gateway_address=address), "tenants", "CA", "CERT", "KEY")
    found = files(made)
    (selection,) = yaml.safe_load(found["egress-selector-configuration.yaml"])["egressSelections"]
    assert selection["connection"]["proxyProtocol"] == "HTTPConnect"
    tcp = selection["connection"]["transport"]["tcp"]
    assert tcp["url"] == url
    assert tcp["tlsConfig"].get("tlsServerName") == name
    for path in ("caBundle", "clientCert", "clientKey"):
        assert tcp["tlsConfig"][path].rpartition("/")[2] in found
    assert made["metadata"] == {"name": "tenant-1-konnectivity-gateway", "namespace": "tenants"}


def test_agents_of_a_gateway_share_no_object_with_other_agents_of_the_cluster():
    like = agent_objects.AgentManifest(servers=("beside",), ca="OTHER", host_network=True)
    ours = gateway_tenant.agents(tenant(), "PEM", like)
    names = {
        (each["kind"], each["metadata"]["name"])
        for each in ours
        if each["kind"] not in ("ClusterRole", "ClusterRoleBinding")
    }
    assert not names & {(each["kind"], each["metadata"]["name"]) for each in agent_objects.objects(like)}
    (workload,) = [each for each in ours if each["kind"] == "DaemonSet"]
    assert workload["spec"]["selector"]["matchLabels"] == {"k8s-app": "konnectivity-gateway-agent"}
    arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--proxy-server-host=tenant-1.gateway.example" in arguments
    theirs = agent_objects.container(like)["args"]
    ports = [each for each in arguments if "-server-port=" in each and not each.startswith("--proxy")]
    assert len(ports) == 2
    assert not set(ports) & set(theirs)


@pytest.mark.parametrize("name", ["", "a.b", "A", "-a", "a" * 64])
def test_a_name_that_the_gateway_would_refuse_is_refused(name):
    with pytest.raises(ManifestError, match="is not a name of a tenant"):
        tenant(name=name)

"""Tests of the objects of a server of many clusters."""

from __future__ import annotations

import pytest

from konnectivity.tool.manifests import agent_service_object, gateway_objects
from konnectivity.tool.manifests.object_names import ManifestError


def made(**settings):
    """Return the objects by kind, the Service of the pods for each other as `peers`."""
    found = gateway_objects.objects(gateway_objects.GatewayManifest(**settings))
    return {"peers" if each["metadata"]["name"] == gateway_objects.PEERS else each["kind"]: each for each in found}


def arguments(objects):
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(each.split("=", 1) for each in container["args"])


def test_agents_and_kube_apiservers_share_one_port_with_one_certificate():
    found = made(port=9132)
    flags = arguments(found)
    assert flags["--agent-port"] == flags["--server-port"] == "9132"
    assert (flags["--cluster-cert"], flags["--cluster-key"]) == (flags["--server-cert"], flags["--server-key"])
    assert [each["port"] for each in found["Service"]["spec"]["ports"]] == [9132]
    clients, probes, _ = found["NetworkPolicy"]["spec"]["ingress"]
    assert [clients["ports"][0]["port"], probes["ports"][0]["port"]] == [9132, 8134]


def test_pods_find_each_other_by_a_name_and_no_other_pod_reaches_their_port():
    found = made(namespace="there")
    flags = arguments(found)
    name, port = flags["--peers"].split(":")
    service = found["peers"]
    assert name == f"{service['metadata']['name']}.there.svc"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    own = found["NetworkPolicy"]["spec"]["ingress"][2]
    ports = (service["spec"]["ports"][0]["port"], own["ports"][0]["port"], int(flags["--peer-port"]))
    assert ports == (int(port), int(port), int(port))
    assert own["from"] == [{"podSelector": found["Deployment"]["spec"]["selector"]}]
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == pod["volumes"][2]["name"]]
    assert {flags[each] for each in ("--peer-cert", "--peer-key", "--peer-ca-cert")} == {
        f"{mount['mountPath']}/{each}" for each in ("tls.crt", "tls.key", "ca.crt")
    }


def test_pods_may_do_without_each_other():
    found = made(peers=False)
    assert "peers" not in found
    assert not [each for each in arguments(found) if each.startswith("--peer")]
    assert len(found["NetworkPolicy"]["spec"]["ingress"]) == len(
        found["Deployment"]["spec"]["template"]["spec"]["volumes"]
    )


def test_a_port_that_an_additional_argument_sets_is_that_of_service_and_policy():
    found = made(flags={"--agent-port": "9000", "--server-port": "9000"})
    assert found["Service"]["spec"]["ports"][0]["port"] == 9000
    assert found["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == 9000


def test_the_directory_of_tenants_is_merged_from_secrets_that_may_be_missing():
    pod = made(shards=3)["Deployment"]["spec"]["template"]["spec"]
    tenants = pod["volumes"][0]
    assert tenants["projected"]["sources"] == [
        {"secret": {"name": f"konnectivity-tenants-{shard}", "optional": True}} for shard in range(3)
    ]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == tenants["name"]]
    assert mount["mountPath"] == arguments(made())["--tenants"]


def test_agents_are_told_of_as_many_servers_as_there_may_be_unless_servers_know_of_each_other():
    assert arguments(made(replicas=3))["--server-count"] == "3"
    assert arguments(made(replicas=3, max_replicas=9))["--server-count"] == "3"
    assert arguments(made(replicas=3, max_replicas=9, peers=False))["--server-count"] == "9"


def test_an_autoscaler_decides_about_the_replicas_alone():
    assert made(replicas=3)["Deployment"]["spec"]["replicas"] == 3
    found = made(replicas=3, max_replicas=9, tunnels=2000)
    assert "replicas" not in found["Deployment"]["spec"]
    spec = found["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 9)
    assert [each["type"] for each in spec["metrics"]] == ["Resource", "Pods"]
    assert "HorizontalPodAutoscaler" not in made()


def test_without_a_number_of_tunnels_the_autoscaler_needs_no_adapter():
    (metric,) = made(max_replicas=9)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["resource"]["name"] == "cpu"


def test_clients_may_be_restricted_to_networks():
    clients, probes, _ = made(networks=("192.0.2.0/24",))["NetworkPolicy"]["spec"]["ingress"]
    assert clients["from"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    assert "from" not in probes


def test_no_pod_goes_before_the_next_one_is_ready():
    found = made()
    spec = found["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["PodDisruptionBudget"]["spec"]["selector"] == spec["selector"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"replicas": 0}, "must be 1 or more"),
        ({"max_replicas": 2}, "must be above 2"),
        ({"tunnels": 5}, "give the largest number of replicas"),
        ({"max_replicas": 3, "tunnels": 0}, "1 or more"),
        ({"max_replicas": 3, "cpu_percent": 0}, "1 to 100 percent"),
        ({"shards": 0}, "1 to 256 Secrets"),
        ({"networks": ("192.0.2.0/40",)}, "is no network"),
        ({"port": 443}, "ports 1024 to 49151"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, why):
    with pytest.raises(ManifestError, match=why):
        made(**settings)


def test_a_node_port_is_for_its_type():
    found = made(service_type=agent_service_object.NODE_PORT, node_port=30132)
    assert found["Service"]["spec"]["ports"][0]["nodePort"] == 30132
    with pytest.raises(ManifestError, match="for type NodePort"):
        made(node_port=30132)

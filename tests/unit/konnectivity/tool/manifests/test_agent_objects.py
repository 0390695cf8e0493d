"""Workload of the agent: modes, replicas, permissions, and the agreement of flags and probes."""

from __future__ import annotations

import pytest

from konnectivity.tool.manifests import agent_objects, object_names
from konnectivity.tool.manifests.object_names import ManifestError


def made(**settings):
    return {
        each["kind"]: each
        for each in agent_objects.objects(agent_objects.AgentManifest(**{"servers": ("cp1",), **settings}))
    }


def pod(**settings):
    objects = made(**settings)
    return objects[settings.get("mode", agent_objects.DAEMON_SET)]["spec"]["template"]["spec"]


def test_by_default_there_is_one_on_every_node():
    assert list(made()) == ["ServiceAccount", "DaemonSet"]
    assert "replicas" not in made()["DaemonSet"]["spec"]


def test_a_deployment_spreads_its_agents_and_gives_up_one_at_a_time():
    objects = made(mode="Deployment", replicas=3)
    assert list(objects) == ["ServiceAccount", "Deployment", "PodDisruptionBudget"]
    assert objects["Deployment"]["spec"]["replicas"] == 3
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    affinity = pod(mode="Deployment")["affinity"]["podAntiAffinity"]
    (term,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"] == objects["Deployment"]["spec"]["selector"]


@pytest.mark.parametrize(
    ("mode", "replicas", "why"),
    [
        ("DaemonSet", 2, "replicas are for mode Deployment"),
        ("DaemonSet", -1, "replicas are for mode Deployment"),
        ("Deployment", 0, "must be 1 or more, not 0"),
        ("Deployment", -1, "must be 1 or more, not -1"),
        ("StatefulSet", None, "must be DaemonSet or Deployment"),
    ],
)
def test_replicas_belong_to_a_deployment(mode, replicas, why):
    with pytest.raises(ManifestError, match=why):
        made(mode=mode, replicas=replicas)


def test_a_daemon_set_with_no_replicas_is_one():
    assert "DaemonSet" in made(replicas=0)


def test_agents_on_the_hosts_network_do_not_want_the_ports_of_those_that_they_replace():
    strategy = made(mode="Deployment", host_network=True)["Deployment"]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod(host_network=True)["hostNetwork"] is True


def test_probes_ask_where_the_flags_say():
    (container,) = pod(flags={"--health-server-port": "9000"})["containers"]
    assert "--health-server-port=9000" in container["args"]
    assert [container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")] == [9000, 9000]
    assert container["ports"][0]["containerPort"] == 9000
    with pytest.raises(ManifestError, match="--health-server-port=x: not a port"):
        pod(flags={"--health-server-port": "x"})


def test_a_ca_of_its_own_is_mounted_where_the_flag_says():
    objects = made(ca="PEM")
    (container,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert f"--ca-cert={agent_objects.CA_DIRECTORY}/ca.crt" in container["args"]
    assert objects["ConfigMap"]["data"] == {"ca.crt": "PEM"}
    assert container["volumeMounts"][1]["mountPath"] == agent_objects.CA_DIRECTORY


def test_the_token_is_for_the_server_alone_and_short_lived():
    (token,) = pod()["volumes"][0]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "system:konnectivity-server"
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600


def test_only_agents_that_count_leases_get_a_token_for_the_api():
    """Other agents get the cluster's CA in the same folder, and a token for the server."""
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    (mount,) = [
        each for each in spec["containers"][0]["volumeMounts"] if each["mountPath"] == object_names.ACCOUNT_FILES
    ]
    assert f"--ca-cert={object_names.ACCOUNT_FILES}/ca.crt" in spec["containers"][0]["args"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == mount["name"]]
    (source,) = volume["projected"]["sources"]
    assert source["configMap"] == {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    for counting in (pod(lease_namespace="leases"), pod(flags={"--count-server-leases": None})):
        assert "automountServiceAccountToken" not in counting
        assert object_names.ACCOUNT_FILES not in [
            each["mountPath"] for each in counting["containers"][0]["volumeMounts"]
        ]
    assert pod(flags={"--count-server-leases": "false"})["automountServiceAccountToken"] is False
    assert [each["name"] for each in pod(ca="PEM")["volumes"]] == [object_names.TOKEN, agent_objects.CA_CONFIG_MAP]


def test_a_client_of_the_api_requests_what_it_takes():
    (container,) = pod(lease_namespace="leases")["containers"]
    assert container["resources"]["requests"]["memory"] == "48Mi"
    assert pod()["containers"][0]["resources"]["requests"]["memory"] == "32Mi"
    chosen = {"requests": {"memory": "1Gi"}}
    assert pod(lease_namespace="leases", resources=chosen)["containers"][0]["resources"] == chosen


def test_no_node_is_without_an_agent_while_they_are_replaced_unless_the_ports_are_the_hosts():
    update = made()["DaemonSet"]["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxSurge": "10%", "maxUnavailable": 0}
    update = made(host_network=True)["DaemonSet"]["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": "10%"}


def test_an_agent_is_found_ready_soon_after_it_is_and_not_asked_before_it_can_be():
    (container,) = pod()["containers"]
    probe = container["readinessProbe"]
    assert probe["initialDelaySeconds"] == 3
    assert probe["periodSeconds"] == 3


def test_nothing_depends_on_the_nodes_address():
    """A pod that uses `status.hostIP` does not start on nodes where it is empty, as on some dual-stack nodes."""
    assert "env" not in pod()["containers"][0]


def test_leases_are_counted_where_the_server_keeps_them():
    args = pod(lease_namespace="leases")["containers"][0]["args"]
    assert {"--count-server-leases=true", "--lease-namespace=leases"} <= set(args)
    assert "--lease-namespace" not in "".join(pod()["containers"][0]["args"])


def test_somebody_has_to_say_where_the_server_is():
    with pytest.raises(ManifestError, match="--server HOST"):
        made(servers=())

"""`konnectivity manifests`, as a person calls it."""

from __future__ import annotations

import functools
import io
import json

import pytest
import yaml

from konnectivity.tool.pki.authority import Authority

TCP = """\
apiVersion: kamaji.clastix.io/v1alpha1
kind: TenantControlPlane
metadata: {name: t1, namespace: tenants}
spec:
  kubernetes: {version: v1.33.1}
  networkProfile: {address: 203.0.113.7}
  controlPlane:
    gateway: {hostname: t1.example.com, parentRefs: [{name: gw}]}
    deployment: {replicas: 3}
"""
ADDON = "  addons: {konnectivity: {agent: {mode: Deployment, replicas: 2}}}\n"


@pytest.fixture
def call(tool):
    """Run the command; return its exit code, its documents, and its errors."""
    return functools.partial(tool, "manifests")


@pytest.fixture
def made(call):
    """Return the documents of a command that succeeded."""

    def run(*argv):
        code, out, err = call(*argv)
        assert (code, err) == (0, "")
        return list(yaml.safe_load_all(out))

    return run


@pytest.fixture
def refused(call):
    """Return exit code and error of a command that failed, and check that it printed no document."""

    def run(*argv):
        code, out, err = call(*argv)
        assert out == ""
        return code, err.removeprefix("konnectivity manifests: ").strip()

    return run


@pytest.fixture
def file(tmp_path):
    def write(text, name="tcp.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def kinds(objects):
    return [each["kind"] for each in objects]


def args(objects):
    (workload,) = [each for each in objects if each["kind"] in ("DaemonSet", "Deployment")]
    return workload["spec"]["template"]["spec"]["containers"][0]["args"]


def test_all_is_agent_and_rights(made):
    assert kinds(made("all", "--server", "cp1")) == ["ClusterRole", "ClusterRoleBinding", "ServiceAccount", "DaemonSet"]


def test_with_leases_both_sides_may_use_them_where_they_are(made):
    objects = made("all", "--server", "cp1", "--leases")
    assert kinds(objects)[0] == "Namespace"
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] == "Role"} == {"konnectivity"}
    assert "--lease-namespace=konnectivity" in args(objects)
    (pod,) = made("server", "--leases")
    assert "--lease-namespace=konnectivity" in pod["spec"]["containers"][0]["args"]


def test_several_servers_each_with_its_port(made):
    assert "--proxy-server-host=cp1,cp2:9000" in args(made("agent", "--server", "cp1,cp2:9000"))


def test_what_can_be_said_of_agents(made):
    settings = ["--mode", "Deployment", "--replicas", "2", "--host-network", "--namespace", "agents", "--port", "443"]
    settings += ["--toleration", "*", "--limits", "memory=,cpu=1", "--requests", "memory=1Gi", "--image", "r/a:1"]
    objects = made("agent", "--server", "cp1", *settings, "--extra-arg=--v=2", "--extra-arg=--sync-forever")
    workload = objects[1]
    pod = workload["spec"]["template"]["spec"]
    assert workload["metadata"]["namespace"] == "agents"
    assert workload["spec"]["replicas"] == 2
    assert pod["hostNetwork"] is True
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["containers"][0]["image"] == "r/a:1"
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "20m", "memory": "1Gi"}, "limits": {"cpu": "1"}}
    assert {"--v=2", "--sync-forever", "--proxy-server-port=443"} <= set(args(objects))


def test_of_a_file_with_a_key_only_certificates_are_told(made, tmp_path, file):
    certificate, key = Authority.create("own").write(tmp_path), Authority.create("x").issue("x", client=True)
    _, key = key.write(tmp_path, "x")
    both = file(certificate.read_text() + key.read_text(), "both.pem")
    (config_map,) = [each for each in made("agent", "--server", "cp1", "--ca", both) if each["kind"] == "ConfigMap"]
    assert config_map["data"]["ca.crt"].strip() == certificate.read_text().strip()


def test_json_is_one_list_that_kubectl_reads(call):
    code, out, _ = call("all", "--server", "cp1", "-o", "json")
    assert code == 0
    assert json.loads(out)["kind"] == "List"
    assert json.loads(call("server", "-o", "json")[1])["kind"] == "Pod"
    assert json.loads(call("apiserver", "-o", "json")[1])[0]["op"] == "test"


def test_the_apiserver_sees_what_the_server_has_in_other_directories(made):
    (patch,) = made("apiserver", "--files", "/srv/files", "--sockets", "/srv/sockets")
    (pod,) = made("server", "--files", "/srv/files", "--sockets", "/srv/sockets")
    paths = [each["value"]["mountPath"] for each in patch if "volumeMounts" in each["path"]]
    assert paths == ["/srv/files/egress-selector.yaml", "/srv/sockets"]
    assert "--uds-name=/srv/sockets/konnectivity-server.socket" in pod["spec"]["containers"][0]["args"]


def test_a_service_and_a_route(made):
    (service,) = made("service", "--type", "NodePort", "--node-port", "30132")
    assert service["spec"]["ports"][0]["nodePort"] == 30132
    (route,) = made("tlsroute", "--hostname", "k.example.com", "--gateway", "infra/gw")
    (parent,) = route["spec"]["parentRefs"]
    assert (parent["namespace"], parent["name"], parent["port"]) == ("infra", "gw", 8132)


def test_the_server_beside_a_kube_apiserver_and_taken_out_again(made, file):
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "kube-apiserver", "args": ["--a"]}]}}
    (beside,) = made("server", "--into", file(yaml.safe_dump(pod)), "--tls-secret", "mine")
    assert [each["name"] for each in beside["spec"]["containers"]] == ["kube-apiserver", "konnectivity-server"]
    assert "mine" in [each.get("secret", {}).get("secretName") for each in beside["spec"]["volumes"]]
    (without,) = made("removal", "--out-of", file(yaml.safe_dump(beside)))
    assert without == pod


def test_a_time_stays_a_text(call, file):
    pod = (
        "{kind: Pod, metadata: {creationTimestamp: 2026-01-02T03:04:05Z}, spec: {containers: [{name: kube-apiserver}]}}"
    )
    for form in ("json", "yaml"):
        _, out, _ = call("server", "--into", file(pod), "-o", form)
        assert yaml.safe_load(out)["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"


def test_a_tenant_control_plane_decides(made, file):
    path = file(TCP + ADDON)
    objects = made("all", "--from-tenantcontrolplane", path)
    assert kinds(objects) == ["ClusterRoleBinding", "ServiceAccount", "Deployment", "PodDisruptionBudget"]
    assert "--proxy-server-host=t1.example.com" in args(objects)
    (patch,) = made("server", "--from-tenantcontrolplane", path)
    ours, its = patch["spec"]["template"]["spec"]["containers"]
    assert "--server-count=3" in ours["args"]
    assert its["name"] == "kube-apiserver"
    assert kinds(made("agent", "--from-tenantcontrolplane", path)) == kinds(objects)[1:]
    assert kinds(made("rbac", "--from-tenantcontrolplane", path)) == ["ClusterRoleBinding"]
    assert kinds(made("service", "--from-tenantcontrolplane", path)) == ["Service"]
    assert kinds(made("tlsroute", "--from-tenantcontrolplane", path)) == ["TLSRoute"]


def test_it_may_come_from_standard_input_and_agents_may_go_elsewhere(made, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(TCP + ADDON))
    objects = made("all", "--from-tenantcontrolplane", "-", "--server", "192.0.2.1", "--image", "r/a:1")
    assert "--proxy-server-host=192.0.2.1" in args(objects)


def test_it_goes_into_the_deployment_that_kamaji_has(made, file):
    pod = {"spec": {"containers": [{"name": "kube-apiserver", "args": ["--a"]}]}}
    deployment = file(yaml.safe_dump({"kind": "Deployment", "spec": {"template": pod}}), "deployment.yaml")
    (made_of_it,) = made("server", "--from-tenantcontrolplane", file(TCP + ADDON), "--into", deployment)
    its = made_of_it["spec"]["template"]["spec"]["containers"][0]
    assert its["args"][1].startswith("--egress-selector-config-file=/etc/kubernetes/konnectivity/configurations/")


def test_without_the_addon_nothing_is_made_and_removal_says_what_goes(made, refused, file):
    path = file(TCP)
    for what in ("all", "agent", "rbac", "server", "service", "tlsroute"):
        code, error = refused(what, "--from-tenantcontrolplane", path)
        assert code == 1
        assert "tenants/t1 has no spec.addons.konnectivity: the addon is off" in error
        assert "--without-addon" in error
        assert made(what, "--from-tenantcontrolplane", path, "--without-addon")
    (patch,) = made("removal", "--from-tenantcontrolplane", path, "--deployment-patch")
    assert (patch["kind"], patch["metadata"]["name"]) == ("Deployment", "t1")
    assert "DaemonSet" in kinds(made("removal", "--from-tenantcontrolplane", path))
    assert kinds(made("removal", "--from-tenantcontrolplane", path, "--admin")) == [
        "ConfigMap",
        "Secret",
        "Secret",
        "TLSRoute",
    ]


def test_with_the_addon_there_is_nothing_to_remove(refused, file):
    code, error = refused("removal", "--from-tenantcontrolplane", file(TCP + ADDON))
    assert code == 1
    assert "Kamaji would make anew what is deleted" in error


def test_removal_knows_all_that_was_made(made):
    there = made("removal", "--namespace", "agents", "--leases", "leases")
    names = {(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace")) for each in there}
    for mode in ("DaemonSet", "Deployment"):
        for each in made("all", "--server", "cp1", "--mode", mode, "--namespace", "agents", "--leases", "leases"):
            head = each["metadata"]
            assert each["kind"] == "Namespace" or (each["kind"], head["name"], head.get("namespace")) in names


def test_the_patch_for_kamaji(made):
    (patch,) = made("kamaji-patch", "--mode", "Deployment", "--replicas", "2")
    agent = patch["spec"]["addons"]["konnectivity"]["agent"]
    assert (agent["mode"], agent["replicas"]) == ("Deployment", 2)


def test_the_patch_for_kamaji_reads_the_tenant_control_plane(made, refused, file):
    (off,) = made("kamaji-patch", "--from-tenantcontrolplane", file(TCP))
    assert off["spec"]["addons"]["konnectivity"]["server"]["port"] == 8132
    (on,) = made("kamaji-patch", "--from-tenantcontrolplane", file(TCP + ADDON), "--replicas", "3")
    assert on["spec"]["addons"]["konnectivity"]["agent"]["replicas"] == 3
    assert "port" not in on["spec"]["addons"]["konnectivity"]["server"]
    code, error = refused("kamaji-patch", "--from-tenantcontrolplane", file(TCP), "--replicas", "3")
    assert code == 1
    assert "replicas are for mode Deployment" in error


def test_the_servers_config_map_and_secret(made, refused, file):
    path, kubeconfig = file(TCP), file("apiVersion: v1\n", "konnectivity-server.conf")
    objects = made("server-config", "--from-tenantcontrolplane", path, "--kubeconfig", kubeconfig)
    assert kinds(objects) == ["ConfigMap", "Secret"]
    assert {each["metadata"]["namespace"] for each in objects} == {"tenants"}
    code, error = refused("server-config", "--from-tenantcontrolplane", path)
    assert code == 2
    assert "--kubeconfig FILE" in error


def test_a_mistake_in_the_file_is_told_with_file_and_field(refused, file):
    path = file(TCP + ADDON.replace("Deployment", "DaemonSet"))
    code, error = refused("all", "--from-tenantcontrolplane", path)
    assert code == 1
    assert error.startswith(f"{path}: spec.addons.konnectivity.agent.replicas: replicas are for mode Deployment")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["all"], "--server HOST"),
        (["all", "--server", "a", "--replicas", "2"], "replicas are for mode Deployment"),
        (
            ["all", "--server", "a", "--kamaji-images"],
            "--kamaji-images has no effect without --from-tenantcontrolplane",
        ),
        (["agent", "--server", "a", "--extra-arg=v"], "'v' is not a flag"),
        (["agent", "--server", "a", "--limits", "64Mi"], "'64Mi': write resource=quantity"),
        (["agent", "--server", "a", "--toleration", "a:b"], "toleration 'a:b'"),
        (["agent", "--server", "a", "--ca", "/no/such"], "cannot read /no/such"),
        (["server", "--port", "80"], "port 80: the server listens on ports 1024 to 49151"),
        (["server", "--count", "0"], "must be 1 or more"),
        (["server", "--tls-secret", "x"], "--tls-secret has no effect without --into"),
        (["server", "--into", "/no/such", "--files", "/x"], "--files has no effect with --into"),
        (["service", "--node-port", "30000"], "a node port is for type NodePort"),
        (["service", "--type", "NodePort", "--node-port", "80"], "port 80: node ports are 30000 to 32767"),
        (["tlsroute", "--hostname", "a"], "needs --hostname and --gateway"),
        (["removal", "--admin"], "--admin has no effect without"),
        (["removal", "--deployment-patch"], "--deployment-patch has no effect without"),
        (["all", "--server", "a", "--without-addon"], "--without-addon has no effect without"),
        (["kamaji-patch", "--mode", "DaemonSet", "--replicas", "2"], "replicas are for mode Deployment"),
        (["kamaji-patch", "--agent-image", "x"], "x: has no tag"),
        (["kamaji-patch", "--port", "80"], "port 80"),
    ],
)
def test_what_cannot_be(refused, argv, why):
    code, error = refused(*argv)
    assert code == 2
    assert why in error


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--server", "http://x"], "has no port between 1 and 65535"),
        (["--server", "a b"], "is no host"),
        (["--server", "a:99999"], "has no port between 1 and 65535"),
        (["--server", "cp1,a..b"], "is no host"),
        (["--server", "a", "--image", "x y"], "is not an image"),
        (["--server", "a", "--image", "Registry/Name:1"], "is not an image"),
        (["--server", "a", "--image", "x:"], "is not an image"),
        (["--server", "a", "--namespace", "Foo_Bar"], "is not a name of a namespace"),
        (["--server", "a", "--namespace", ""], "is not a name of a namespace"),
        (["--server", "a", "--namespace", "a.b"], "is not a name of a namespace"),
        (["--server", "a", "--leases", "a" * 64], "is not a name of a namespace"),
        (["--server", "a", "--port", "65536"], "is not a port"),
        (["--server", "a", "--port", "²"], "is not a port"),
        (["--server", "a", "--limits", "memory=lots"], "is not a quantity"),
        (["--server", "a", "--extra-arg=--bogus=1"], "proxy-agent would not start: unknown flag: --bogus"),
        (["--server", "a", "--extra-arg=--sync-interval=soon"], "proxy-agent would not start: invalid argument"),
    ],
)
def test_values_that_would_fail_in_the_cluster_are_refused(call, argv, why):
    code, out, error = call("all", *argv)
    assert (code, out) == (2, "")
    assert why in error


@pytest.mark.parametrize(
    ("what", "option", "value"),
    [
        ("server", "--image", "x y"),
        ("server", "--extra-arg", "--bogus=1"),
        ("server", "--mode", "ftp"),
        ("server", "--files", "files"),
        ("server", "--sockets", "/run/../etc"),
        ("server", "--tls-secret", "A B"),
        ("rbac", "--namespace", "Foo_Bar"),
        ("service", "--port", "0"),
        ("tlsroute", "--hostname", "a_b"),
        ("tlsroute", "--service", "A"),
        ("removal", "--namespace", "Foo_Bar"),
        ("kamaji-patch", "--server-image", "x y:1"),
        ("kamaji-patch", "--agent-image", "https://x:1"),
    ],
)
def test_a_value_is_checked_wherever_it_can_be_given(call, what, option, value):
    code, out, error = call(what, f"{option}={value}")
    assert (code, out) == (2, "")
    assert value.lstrip("-").partition("=")[0] in error


def test_images_and_arguments_of_a_tenant_control_plane_are_checked(refused, file):
    for agent in ("image: 'x y', version: '1'", "extraArgs: ['--bogus=1']"):
        code, error = refused(
            "all", "--from-tenantcontrolplane", file(f"{TCP}  addons: {{konnectivity: {{agent: {{{agent}}}}}}}")
        )
        assert code == 1
        assert "is not an image" in error or "would not start: unknown flag: --bogus" in error


def test_settings_that_the_tenant_control_plane_has_are_not_taken_twice(refused, file):
    code, error = refused("all", "--from-tenantcontrolplane", file(TCP + ADDON), "--replicas", "2")
    assert code == 2
    assert error == "--replicas has no effect with --from-tenantcontrolplane, which says it; leave it out"


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("a: [", 2, "is not YAML"),
        ("", 2, "is empty"),
        ("[]", 2, "must hold one object"),
        ("a: 1\n---\nb: 2", 2, "must hold one object, not 2 documents"),
        ("\x00", 2, "is not YAML"),
        ("[" * 2000, 2, "is not YAML"),
        ("a: !!set {b, c}", 2, "holds a set, which Kubernetes does not know"),
        ("a: &a [*a]", 2, "holds more than 100000 values, or itself"),
        ("".join(f"- &a{n} [{f'*a{n - 1},' * 9 if n else 'x'}]\n" for n in range(9)), 2, "more than 100000 values"),
        ("{[1]: 2}", 2, "is not YAML"),
        ("kind: Pod", 1, "is Pod, not kamaji.clastix.io/v1alpha1 TenantControlPlane"),
    ],
)
def test_files_that_are_something_else(refused, file, text, code, why):
    found, error = refused("all", "--from-tenantcontrolplane", file(text))
    assert found == code
    assert why in error


def test_a_file_that_is_not_there(refused):
    code, error = refused("all", "--from-tenantcontrolplane", "/no/such")
    assert code == 2
    assert "cannot read /no/such" in error


def test_every_kind_shows_an_example(call):
    for what in ("all", "agent", "rbac", "server", "apiserver", "service", "tlsroute", "removal", "kamaji-patch"):
        code, out, _ = call(what, "--help")
        assert code == 0
        assert f"example: konnectivity manifests {what}" in " ".join(out.split())

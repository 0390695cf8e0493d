"""Tests of `konnectivity manifests gateway` and `tenant`, as a provider calls them; the server judges the files."""

from __future__ import annotations

import pytest
import yaml

from konnectivity.runtime.options import read
from konnectivity.tool.pki import private_keys
from konnectivity.tool.pki.authority import Authority
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants import directory_check
from support.projected_volume import ProjectedVolume

DOMAIN = ("--domain", "gateway.example", "--gateway-ca", "gateway/ca.crt")
PLANE = """\
apiVersion: kamaji.clastix.io/v1alpha1
kind: TenantControlPlane
metadata: {name: %s, namespace: tenants}
spec:
  kubernetes: {version: v1.33.1}
  controlPlane: {deployment: {extraArgs: {apiServer: [--v=2]}}}
  addons: {konnectivity: {agent: {mode: Deployment, replicas: 3}}}
"""


@pytest.fixture
def made(tool):
    """Return a function: arguments of `konnectivity manifests` -> objects."""

    def run(*arguments):
        code, out, errors = tool("manifests", *arguments)
        assert (code, errors) == (0, "")
        return list(yaml.safe_load_all(out))

    return run


@pytest.fixture
def refused(tool):
    """Return a function: arguments of `konnectivity manifests` that are refused -> exit code and reason."""

    def run(*arguments):
        code, out, errors = tool("manifests", *arguments)
        assert out == ""
        return code, errors.strip()

    return run


@pytest.fixture
def site(tool, tmp_path):
    """Make the certificate of a gateway, and certificates and kubeconfigs of two tenants."""
    names = ("--server-name=*.gateway.example", "--peer-name=konnectivity-gateway-peers.konnectivity.svc")
    assert tool("pki", "--directory=gateway", "--only=server,peer", *names)[0] == 0
    for name in ("a", "b"):
        assert tool("pki", f"--directory={name}", "--only=client,agent")[0] == 0
        own = Authority.create(f"cluster {name}")
        (tmp_path / f"{name}-ca.crt").write_bytes(own.certificate_pem)
        (tmp_path / f"{name}-ca.key").write_bytes(private_keys.to_pem(own.key))
        files = (f"--ca-cert={name}-ca.crt", f"--ca-key={name}-ca.key", f"--file={name}.conf")
        assert tool("kubeconfig", f"--server=https://{name}.tenants.svc:6443", *files)[0] == 0
    return tmp_path


def secrets_of(made, name, *more):
    return made("tenant", name, *DOMAIN, "--pki", name, "--kubeconfig", f"{name}.conf", *more)


def test_the_server_accepts_the_files_in_the_volume_of_its_pod(made, site):
    """The arguments are the manifest's; the volume is written as a kubelet writes it."""
    (deployment,) = [each for each in made("gateway", "--admin-token-secret=tokens") if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    volume = ProjectedVolume(site / "tenants")
    (site / "admin-tokens").write_text("ab" * 32)
    token = ("--admin-token-sha256", "ab" * 32)
    shown = made("tenant", "b", *DOMAIN, "--pki", "b", "--agent-certificates", *token)[0]
    volume.update([secrets_of(made, "a", "--leases")[0], shown])
    places = {
        "/etc/konnectivity/tenants": "tenants",
        "/etc/konnectivity/tls/tls": "gateway/server",
        "/etc/konnectivity/peers/tls": "gateway/peer",
        "/etc/konnectivity/peers/ca": "gateway/peer-ca",
        "/etc/konnectivity/admin/": "admin-",
    }
    arguments = container["args"]
    for place, here in places.items():
        arguments = [each.replace(place, str(site / here)) for each in arguments]
    options, problems = read(ServerOptions, arguments, {})
    assert problems == []
    assert directory_check.report(options) == ("# tenant a: can be served\n# tenant b: can be served\n", True)


def test_the_parts_of_a_tenant_name_it_by_the_same_server_name(made, site):
    entry, secret = secrets_of(made, "a")
    assert entry["metadata"]["namespace"] == secret["metadata"]["namespace"] == "konnectivity"
    workload = made("tenant", "a", "--part", "agents", *DOMAIN)[-1]
    assert workload["metadata"]["name"] == "konnectivity-gateway-agent"
    arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--proxy-server-host=a.gateway.example" in arguments
    (gone,) = made("tenant", "a", "--part", "removal")
    assert gone == {key: value for key, value in entry.items() if key != "data"}


def test_a_tenant_control_plane_says_where_its_kube_apiserver_is_and_how_many_agents_there_are(made, site):
    (site / "plane.yaml").write_text(PLANE % "a")
    source = ("--from-tenantcontrolplane", "plane.yaml")
    _, secret = secrets_of(made, "a", *source)
    assert secret["metadata"]["namespace"] == "tenants"
    objects = {each["kind"]: each for each in made("tenant", "a", "--part", "agents", *DOMAIN, *source)}
    assert objects["Deployment"]["spec"]["replicas"] == 3
    assert objects["PodDisruptionBudget"]["metadata"]["name"] == "konnectivity-gateway-agent"
    (patch,) = made("tenant", "a", "--part", "kamaji-patch", *source)
    assert patch["spec"]["addons"] == {"konnectivity": None}
    assert patch["spec"]["controlPlane"]["deployment"]["extraArgs"]["apiServer"][0] == "--v=2"
    (back,) = made("tenant", "a", "--part", "kamaji-back", *source)
    assert back["spec"]["addons"]["konnectivity"] == {"agent": {"mode": "Deployment", "replicas": 3}}


def test_the_networks_of_clients_and_the_resources_of_pods_may_be_set(made):
    given = ("--allow-from", "192.0.2.0/24,198.51.100.0/24", "--limits", "memory=2Gi", "--extra-arg=--v=2")
    objects = {each["kind"]: each for each in made("gateway", *given, "--max-replicas", "4", "--tunnels", "1500")}
    assert len(objects["NetworkPolicy"]["spec"]["ingress"][0]["from"]) == 2
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert "--v=2" in container["args"]
    assert len(objects["HorizontalPodAutoscaler"]["spec"]["metrics"]) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("gateway", "--tunnels", "5"), "--tunnels has no effect without --max-replicas"),
        (("gateway", "--allow-from", "all"), "is no network"),
        (("gateway", "--extra-arg=--forward-port=1"), "proxy-server would not start: --forward-port is not possible"),
        (("tenant", "a"), "--part secrets needs --kubeconfig FILE and --gateway-ca FILE"),
        (("tenant", "a", "--part", "agents", "--gateway-ca", "gateway/ca.crt"), "--domain DOMAIN, or --server-name"),
        (
            ("tenant", "a", "--part", "agents", *DOMAIN, "--pki", "x"),
            "--pki has no effect with --part agents and without",
        ),
        (("tenant", "a", "--part", "removal", "--domain", "x"), "--domain has no effect with --part removal"),
        (("tenant", "a", "--part", "kamaji-patch"), "needs --from-tenantcontrolplane FILE"),
        (("tenant", "a", *DOMAIN, "--part", "agents", "--admin-token-sha256", "ab" * 32), "has no effect with --part"),
        (("tenant", "a", *DOMAIN, "--agent-certificates", "--kubeconfig", "a.conf"), "--kubeconfig has no effect with"),
        (("tenant", "a", *DOMAIN, "--part", "agents", "--agent-certificates"), "cannot read pki/agent.crt"),
        (("tenant", "a", *DOMAIN, "--kubeconfig", "files.conf", "--pki", "a"), "names a file (tokenFile)"),
        (("tenant", "a", *DOMAIN, "--kubeconfig", "a.conf", "--pki", "none"), "cannot read none/frontend-ca.crt"),
    ],
)
def test_options_that_do_not_fit_are_refused(refused, site, arguments, why):
    (site / "files.conf").write_text("users: [{name: a, user: {tokenFile: /token}}]\n")
    code, error = refused(*arguments)
    assert code == 2
    assert why in error


def test_a_patch_is_for_the_tenant_that_it_names(refused, tmp_path):
    (tmp_path / "plane.yaml").write_text(PLANE % "b")
    code, error = refused("tenant", "a", "--part", "kamaji-patch", "--from-tenantcontrolplane", "plane.yaml")
    assert (code, error) == (2, "konnectivity manifests: plane.yaml is of b, not of a")

"""Tests of the objects that real Kamaji made in the last `make e2e-kamaji`: our programs run in their pods.

The objects that our tool prints equal Kamaji's but for known fields. CI runs these tests, without Kamaji: Secrets,
tokens and the tenant's API are made up.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from egress_way import way_of
from namespaces import HUB, Namespaces
from pod_runner import Pod, container
from pod_volumes import PodVolumes
from recorder import RECORDED, recorded
from tenant_objects import HOSTNAME, konnectivity
from tenant_plane import AGENT, NODE_IP, SERVER

from konnectivity.client import connect
from konnectivity.testing.deployment import ProgramProcess
from konnectivity.tool.pki.authority import Authority
from support.checkout import DEPLOYERS

TOKEN = "good"
SOCKET = "konnectivity-server.socket"
PAIRS = {
    "DaemonSet": ("deployment", "agent-pod"),
    "Deployment": ("deployment", "agent-pod-of-a-deployment"),
    "gateway": ("deployment", "gateway-agent-pod"),
    "every field": ("fields-deployment", "fields-agent-pod"),
}
TENANTS = {"page": "", "every field": "fields-", "gateway": "gateway-"}
FILLED_IN = {
    "dnsPolicy",
    "imagePullPolicy",
    "restartPolicy",
    "schedulerName",
    "serviceAccount",
    "terminationMessagePath",
    "terminationMessagePolicy",
}


class MadeUpCluster:
    """Secrets, ConfigMaps and tokens in the place of those in a cluster, made when a volume asks for them."""

    def __init__(self, authority: Authority, kubeconfig: Path, names: list[str], ips: list[str]) -> None:
        server = authority.issue("kube-apiserver", dns=names, ips=ips, server=True)
        self._data = {
            "ca.crt": authority.certificate_pem,
            "apiserver.crt": server.cert_pem,
            "apiserver.key": server.key_pem,
            "konnectivity-server.conf": kubeconfig.read_bytes(),
        }

    def get(self, namespace: str, kind: str, name: str) -> dict:
        data = {key: base64.b64encode(content).decode() for key, content in self._data.items()}
        if kind == "configmap":
            data = {key: content.decode() for key, content in self._data.items()}
        return {"data": _AnyKey(data)}

    def ok(self, *arguments: str) -> bytes:
        assert "--audience=system:konnectivity-server" in arguments or "--audience" not in "".join(arguments)
        return TOKEN.encode()


class _AnyKey(dict):
    """Data of a Secret that has every key: those that these programs do not read are empty."""

    def __missing__(self, key: str) -> str:
        return ""


def lacking():
    """Return the reason why this machine cannot run the pods, or an empty text."""
    if os.geteuid():
        return "root is needed, to make namespaces"
    missing = [name for name in ("ip", "nsenter", "unshare", "setpriv", "curl") if shutil.which(name) is None]
    return f"{', '.join(missing)} is missing: apt-get install iproute2 util-linux curl" if missing else ""


@pytest.fixture(scope="module")
def site():
    """Yield a function that starts a recorded pod, in a hub for servers or a node for agents."""
    if reason := lacking():
        pytest.skip(reason)
    with ExitStack() as stack:
        # The path of a unix socket must be short. Containers run as users other than root.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k")))
        directory.chmod(0o755)
        namespaces = Namespaces(directory)
        stack.callback(namespaces.remove)
        agents = [container(recorded(pod)["spec"], AGENT)["args"] for _, pod in PAIRS.values()]
        hosts = {word.partition("=")[2] for args in agents for word in args if word.startswith("--proxy-server-host=")}
        ips = sorted(hosts - {HOSTNAME})
        for each in ips:
            namespaces.add_address(namespaces.hub, each)
        namespaces.add_host(HUB, HOSTNAME)
        within = namespaces.within(namespaces.hub)
        program = [*within[1:], sys.executable, str(Path(__file__).with_name("review_api.py")), str(directory), TOKEN]
        api = ProgramProcess(within[0], program, directory / "api.log")
        stack.callback(api.stop)
        api.wait_for("serving")
        cluster = MadeUpCluster(Authority.create("tenant"), directory / "kubeconfig", ["localhost", HOSTNAME], ips)
        places = {SERVER: namespaces.hub, AGENT: namespaces.spoke("node", NODE_IP).namespace}

        def start(test, name, spec):
            own = directory / f"{len(list(directory.iterdir()))}-{name}"
            volumes = PodVolumes(spec, "it", cluster, own / "volumes")
            pod = Pod(spec, volumes, own, namespaces.within(places[name]), namespaces.hosts)
            test.callback(pod.stop)
            pod.start(name)
            return pod

        yield start


@pytest.fixture(scope="module")
def server(site, request):
    """Yield the pod of a recorded Deployment, in which the server runs."""
    with ExitStack() as stack:
        yield site(stack, SERVER, recorded(request.param)["spec"]["template"]["spec"])


@pytest.mark.parametrize(("server", "agent"), PAIRS.values(), ids=PAIRS, indirect=["server"])
async def test_recorded_pods_carry_a_connection(site, server, agent):
    """Arguments, mounts, users and tokens are Kamaji's; the target of the connection is the agent's health port."""
    with ExitStack() as stack:
        pod = site(stack, AGENT, recorded(agent)["spec"])
        pod.processes[AGENT].wait_for("Connected to server")
        socket = server.volumes.paths["konnectivity-uds"] / SOCKET
        async with connect(address=f"unix:{socket}", mode="grpc") as tunnel:
            reader, writer = await tunnel.dial(f"{NODE_IP}:8134")
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"ok")
            writer.close()
            await writer.wait_closed()


def printed(tenant, what):
    """Return the objects that `konnectivity manifests` prints for a recorded tenant control plane."""
    file = RECORDED / f"{TENANTS[tenant]}tenantcontrolplane.yaml"
    return list(yaml.safe_load_all(konnectivity("manifests", what, "--from-tenantcontrolplane", str(file))))


def differing(ours, theirs):
    """Return the names of fields whose values differ, and of fields that only one of the two objects has."""
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}


def without_defaults(found):
    """Return a container or pod without the fields that the API server fills in."""
    return {key: value for key, value in found.items() if key not in FILLED_IN and value not in ({}, False)}


@pytest.mark.parametrize("tenant", TENANTS)
def test_our_agents_are_kamajis(tenant):
    """Our agents differ from Kamaji's only in the fields that docs/start/manifests.md names."""
    theirs = recorded(f"{TENANTS[tenant]}agents")["spec"]["template"]["spec"]
    ours = next(each for each in printed(tenant, "all") if each["kind"] in ("DaemonSet", "Deployment"))
    ours = ours["spec"]["template"]["spec"]
    names = {"containers", "securityContext", "volumes"} | ({"affinity"} if tenant == "every field" else set())
    assert differing(without_defaults(ours), without_defaults(theirs)) == names
    ours, theirs = ours["containers"][0], theirs["containers"][0]
    more = {"securityContext", "resources", "readinessProbe", "ports", "volumeMounts"}
    assert differing(without_defaults(ours), without_defaults(theirs)) == more


@pytest.mark.parametrize("tenant", ["page", "every field"])
def test_our_server_is_kamajis(tenant):
    theirs = container(recorded(f"{TENANTS[tenant]}deployment")["spec"]["template"]["spec"], SERVER)
    (patch,) = printed(tenant, "server")
    ours = container(patch["spec"]["template"]["spec"], SERVER)
    expected = set() if tenant == "every field" else {"resources", "securityContext"}
    assert differing(without_defaults(ours), without_defaults(theirs)) == expected


@pytest.mark.parametrize(
    ("deployment", "sidecar"), [("moved-deployment-with-both", True), ("moved-deployment", False)], ids=["on", "off"]
)
def test_kube_apiserver_of_a_moved_tenant_reads_the_configuration_of_the_gateway(deployment, sidecar):
    """The addon is on at first, and off later, when the volume of the Secret that Kamaji deletes is gone."""
    template = recorded(deployment)["spec"]["template"]["spec"]
    assert way_of(template) == ("moved-konnectivity-gateway", sidecar)
    assert ("konnectivity-server-kubeconfig" in {each["name"] for each in template["volumes"]}) == sidecar


@pytest.mark.parametrize(("part", "addon"), [("kamaji-both", True), ("kamaji-patch", False)])
def test_our_patch_of_a_moved_tenant_is_what_kamaji_accepted(part, addon):
    file = RECORDED / "moved-tenantcontrolplane.yaml"
    patch = yaml.safe_load(
        konnectivity("manifests", "tenant", "moved", "--part", part, f"--from-tenantcontrolplane={file}")
    )
    theirs, ours = recorded("moved-tenantcontrolplane")["spec"], patch["spec"]
    assert ours["addons"]["konnectivity"] == (theirs["addons"]["konnectivity"] if addon else None)
    for field, value in ours["controlPlane"]["deployment"].items():
        assert theirs["controlPlane"]["deployment"][field] == value


def test_other_tests_use_kamajis_arguments():
    """tests/deployers.toml has the arguments of the recorded pods, but for the address of the control plane."""
    known = tomllib.loads(DEPLOYERS.read_text())["kamaji"]
    tenant = recorded("tenantcontrolplane")
    address = tenant["status"]["controlPlaneEndpoint"].partition(":")[0]
    server = container(recorded("deployment")["spec"]["template"]["spec"], SERVER)["args"]
    agent = container(recorded("agents")["spec"]["template"]["spec"], AGENT)["args"]
    assert server == known["server"].split()
    assert agent == known["agent"].replace("203.0.113.7", address).split()

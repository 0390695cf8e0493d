"""Test of one server for two real kube-apiservers: docs/start/quickstart-gateway.md, pasted.

The test stands for Kamaji, which runs a control plane as its TenantControlPlane says, and for the kubelet. The nodes of
both clusters have the same address, so a request that came by the agent of the other cluster would fail.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from functools import cached_property
from pathlib import Path

import pytest

from konnectivity.tool.manifests import agent_objects, rbac
from support.host import Host
from support.projected_volume import ProjectedVolume
from support.shell import blocks
from support.waiting import until

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/start/quickstart-gateway.md"
GATEWAY_IP = "127.0.0.1"
PEERS = ("192.0.2.9", "192.0.2.10")  # addresses of the gateway's two pods for each other
DIAL = r"""
printf 'GET / HTTP/1.0\r\n\r\n' | konnectivity dial 198.51.100.10:10250 --server 192.0.2.10:8132 \
    --server-name tenant-2.gateway.example --ca-cert gateway/ca.crt --cert tenant-2/client.crt --key tenant-2/client.key
"""
READY = ("curl", "-s", "http://127.0.0.1:8134/readyz?tenant=tenant-2")
BESIDE = {"agent": 9132, "health": 9134, "admin": 9133}  # ports of the first server beside a kube-apiserver


class ControlPlane:
    """Control plane of one tenant on a host, its node on another one, and the server beside its kube-apiserver."""

    def __init__(self, cluster, directory, kube, number):
        self.cluster, self.number, self.name = cluster, number, f"tenant-{number}"
        self.control = Host(directory / "control", cluster.namespaces.control, kube)
        self.node = Host(directory / "node", cluster.namespaces.node, kube)
        name = f"{self.name}.gateway.example"
        for host, address in ((self.control, GATEWAY_IP), (self.node, cluster.namespaces.control_ip)):
            host.run("sh", "-c", f"echo {address} {name} >> /etc/hosts")
        dns = (f"{self.name}.tenants.svc",)
        cluster.authority.issue("apiserver", dns=dns, ips=(cluster.local_ip, "10.96.0.1"), server=True).write(
            cluster.directory, "apiserver"
        )
        self.apiserver, self.beside = None, []

    def run_apiserver(self, *more):
        """Start kube-apiserver, at the first time with etcd and the node, or start it anew with other arguments."""
        first = self.apiserver is None
        if first:
            self.cluster.start_etcd()
        else:
            self.apiserver.stop()
        words = [str(self.control.kube), "kube-apiserver", *self.cluster.apiserver_arguments(), *more]
        self.apiserver = self.control.start(words, "Serving securely")
        until(self.cluster.ready, "kube-apiserver is ready")
        if first:
            self.cluster.add_node()
            self.cluster.apply(agent_objects.service_account("kube-system"), *rbac.server())

    @cached_property
    def egress_beside(self):
        """Return the flag with the configuration that leads to the server beside kube-apiserver."""
        path = self.cluster.path("beside.yaml")
        self.cluster.konnectivity("egress-config", f"--uds={self.cluster.path('s')}", "--file", str(path))
        return f"--egress-selector-config-file={path}"

    def start_beside(self):
        """Start the server beside kube-apiserver, and the agent that dials it."""
        cluster, ports = self.cluster, {name: port + 10 * self.number for name, port in BESIDE.items()}
        server = cluster.start(
            cluster.namespaces.control,
            "proxy-server",
            f"--uds-name={cluster.path('s')}",
            "--server-port=0",
            *(f"--{name}-port={port}" for name, port in ports.items()),
            f"--cluster-cert={cluster.path('pki/server.crt')}",
            f"--cluster-key={cluster.path('pki/server.key')}",
            f"--kubeconfig={cluster.path('server.kubeconfig')}",
            "--agent-namespace=kube-system",
            "--agent-service-account=konnectivity-agent",
            "--authentication-audience=system:konnectivity-server",
            ready="Proxy server started",
        )
        token = cluster.path("token-beside")
        token.write_text(cluster.token())
        agent = cluster.start(
            cluster.namespaces.node,
            "proxy-agent",
            f"--proxy-server-host={cluster.namespaces.control_ip}",
            f"--proxy-server-port={ports['agent']}",
            f"--ca-cert={cluster.path('pki/ca.crt')}",
            f"--service-account-token-path={token}",
            "--health-server-port=9193",
            "--admin-server-port=9194",
            ready="Connected to server",
        )
        self.beside = [agent, server]

    def stop_beside(self):
        for process in self.beside:
            process.stop()

    def start_gateway_agent(self):
        """Start the agent of the gateway with the files that a kubelet mounts into its container."""
        found = self.get("daemonset", "konnectivity-gateway-agent")["spec"]["template"]["spec"]
        credential, ca = found["volumes"]
        if "secret" in credential:
            data = self.get("secret", credential["secret"]["secretName"])["data"]
            for name, content in data.items():
                self.node.write(f"/etc/konnectivity/tls/{name}", base64.b64decode(content))
        else:
            (source,) = credential["projected"]["sources"]
            account = found["serviceAccountName"]
            text = self.cluster.token(source["serviceAccountToken"]["audience"], account)
            self.node.write(f"/var/run/secrets/tokens/{source['serviceAccountToken']['path']}", text.encode())
        content = self.get("configmap", ca["configMap"]["name"])["data"]["ca.crt"]
        self.node.write("/etc/konnectivity/ca/ca.crt", content.encode())
        return self.node.start_container(found, "konnectivity-agent", "Connected to server")

    def get(self, kind, name, namespace="kube-system"):
        return json.loads(self.cluster.ok("-n", namespace, "get", kind, name, "-o", "json"))

    def works(self):
        """Check that kube-apiserver reaches the node, by a log and by a stream in both directions."""
        assert self.cluster.ok("logs", "pod").count(b"\n") == 10
        assert self.cluster.ok("exec", "-i", "pod", "--", "cat", stdin=b"hello") == b"hello"

    def stop(self):
        for host in (self.node, self.control):
            host.stop()
        self.cluster.stop()


class Reader:
    """Thread that reads a pod's log again and again while a block runs, and counts the failures."""

    def __init__(self, plane):
        self._plane, self._over = plane, threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.reads, self.failures = 0, []

    def _read(self):
        while not self._over.wait(1):
            done = self._plane.cluster.run("logs", "pod")
            self.reads += 1
            if done.returncode or done.stdout.count(b"\n") != 10:
                self.failures.append(done.stderr.decode())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


class Gateway:
    """Pod of the gateway on a host of the admin cluster, which is the cluster of the first tenant."""

    def __init__(self, admin, directory, namespace, kube):
        self._admin = admin
        self.host = Host(directory, namespace, kube)
        for address in PEERS:
            self.host.run("sh", "-c", f"echo {address} konnectivity-gateway-peers.konnectivity.svc >> /etc/hosts")
        own = directory / "own/etc/konnectivity"
        own.mkdir()
        self._volume = ProjectedVolume(own / "tenants")

    def start(self):
        for secret, folder in (("konnectivity-gateway", "tls"), ("konnectivity-gateway-peers", "peers")):
            for name, content in self._admin.get("secret", secret, "konnectivity")["data"].items():
                self.host.write(f"/etc/konnectivity/{folder}/{name}", base64.b64decode(content))
        spec = self._admin.get("deployment", "konnectivity-gateway", "konnectivity")["spec"]["template"]["spec"]
        self._sources = [each["secret"]["name"] for each in spec["volumes"][0]["projected"]["sources"]]
        self.refresh()
        self.host.start_container(spec, "konnectivity-server", "Proxy server started")

    def refresh(self):
        """Bring the Secrets of the tenants to the pod, as a kubelet does about once a minute."""
        found = json.loads(self._admin.cluster.ok("-n", "konnectivity", "get", "secrets", "-o", "json"))["items"]
        self._volume.update(each for each in found if each["metadata"]["name"] in self._sources)

    def tenants(self):
        """Return the tenants as the admin port has them, by name."""
        command = (sys.executable, "-m", "konnectivity.tool.cli", "tenants", "--admin=127.0.0.1:8133", "-o", "json")
        return {each["name"]: each for each in json.loads(self.host.run(*command))}

    def ready(self, *names):
        found = self.tenants()
        return set(found) == set(names) and all(each["state"] == "ready" for each in found.values())


def dials(gateway, tenant):
    return gateway.tenants()[tenant]["dials"]


def control_plane_object(name):
    return {
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": "tenants"},
        "spec": {
            "controlPlane": {"deployment": {"replicas": 2}, "service": {"serviceType": "ClusterIP"}},
            "kubernetes": {"version": "v1.33.1", "kubelet": {"cgroupfs": "systemd"}},
            "networkProfile": {"address": "203.0.113.7", "port": 6443},
            "addons": {"konnectivity": {"server": {"port": 9132}}},
        },
    }


def ca_object(plane):
    data = {name: base64.b64encode(plane.cluster.path(name).read_bytes()).decode() for name in ("ca.crt", "ca.key")}
    head = {"name": f"{plane.name}-ca", "namespace": "tenants"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": data}


@pytest.fixture(scope="module")
def crd():
    """Return the file of Kamaji's own CRD."""
    found = subprocess.run(["sh", str(HERE / "kamaji_crds.sh")], capture_output=True, text=True, timeout=100)
    if found.returncode:
        pytest.skip(f"missing: Kamaji's sources: {found.stderr.strip()}")
    return found.stdout.strip()


@pytest.fixture
def planes(crd, make_clusters, programs, tmp_path):
    """Yield two control planes: the admin cluster, with a server beside its kube-apiserver, and one that never ran."""
    made = []
    try:
        for number, cluster in enumerate(make_clusters(tmp_path, 2), 1):
            directory = tmp_path / f"tenant-{number}"
            directory.mkdir()
            made.append(ControlPlane(cluster, directory, programs / "kube", number))
        made[0].run_apiserver(made[0].egress_beside)
        admin = made[0].cluster
        admin.ok("apply", "--server-side", "-f", crd)
        admin.ok("wait", "--for=condition=Established", "crd/tenantcontrolplanes.kamaji.clastix.io", "--timeout=30s")
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenants"}})
        for each in made:
            admin.apply(control_plane_object(each.name), ca_object(each))
        made[0].start_beside()
        made[0].works()
        yield made
    finally:
        for each in made:
            each.stop()


@pytest.fixture
def apart(planes):
    """Yield network namespaces of the gateway's second pod, to which no agent has a way."""
    made = type(planes[0].cluster.namespaces)(planes[1].cluster.namespaces)
    yield made
    made.remove()


def follow(admin, plane):
    """Run a control plane as its TenantControlPlane says, as Kamaji does; the same kube-apiserver keeps running."""
    deployment = admin.get("tcp", plane.name, "tenants")["spec"]["controlPlane"]["deployment"]
    if not deployment.get("additionalVolumes"):
        plane.run_apiserver(plane.egress_beside)
        return
    (volume,) = deployment["additionalVolumes"]
    files = admin.get("secret", volume["secret"]["secretName"], "tenants")["data"]
    for mount in deployment["additionalVolumeMounts"]["apiServer"]:
        assert mount["name"] == volume["name"]
        for name, content in files.items():
            path = mount["mountPath"] if "subPath" in mount else f"{mount['mountPath']}/{name}"
            if mount.get("subPath", name) == name:
                plane.control.write(path, base64.b64decode(content))
    plane.run_apiserver(*deployment["extraArgs"]["apiServer"])


@pytest.mark.timeout(600)
def test_from_sidecars_to_a_gateway_and_back(planes, apart, programs, tmp_path):
    install, add, agents, both, off, _, on, back, leave, certificates = blocks(PAGE)
    admin, other = planes
    gateway = Gateway(admin, tmp_path / "gateway", admin.cluster.namespaces.control, programs / "kube")
    second = Gateway(admin, tmp_path / "second", apart.node, programs / "kube")
    try:
        for each in planes:
            gateway.host.run("sh", "-c", f"echo {each.cluster.local_ip} {each.name}.tenants.svc >> /etc/hosts")
        with gateway.host.shell() as shell:
            shell.paste(f"export KUBECONFIG={admin.cluster.path('admin.kubeconfig')}")
            for each in planes:
                shell.paste(f"cp {each.cluster.path('admin.kubeconfig')} {each.name}.kubeconfig")
            shell.paste(install)
            gateway.start()
            shell.paste(add)
            for each in (both, off):
                shell.paste(each.replace("tenant-1", "tenant-2"))
            follow(admin, other)  # its first start
            assert "daemonset.apps/konnectivity-gateway-agent created" in shell.paste(agents)
            shell.paste(certificates)
            gateway.refresh()
            for each in planes:
                each.start_gateway_agent()
            until(lambda: gateway.ready("tenant-1", "tenant-2"), "both tenants are ready")
            assert {name: each["agents"] for name, each in gateway.tenants().items()} == {"tenant-1": 1, "tenant-2": 1}
            second.start()
            until(lambda: second.host.run(*READY) == "ok", "the second pod is ready for tenant-2, by the first one")
            assert "HTTP request to an HTTPS server" in shell.paste(DIAL)
            assert second.tenants()["tenant-2"]["agents"] == 0
            with Reader(other) as reader:
                other.works()
                assert dials(gateway, "tenant-1") == 0
                admin.works()  # by the server beside it
                shell.paste(both)
                follow(admin, admin)
                shell.paste(off)  # kube-apiserver keeps its arguments and files
                admin.stop_beside()
                before = dials(gateway, "tenant-1")
                admin.works()
                assert dials(gateway, "tenant-1") > before
                shell.paste(on)
                admin.start_beside()
                shell.paste(back)
                follow(admin, admin)
                admin.works()
                shell.paste(leave)
                gateway.refresh()
                until(lambda: gateway.ready("tenant-2"), "the gateway serves one tenant alone")
                admin.works()
            assert reader.reads > 3
            assert reader.failures == []
    finally:
        for each in (second, gateway):
            each.host.stop()

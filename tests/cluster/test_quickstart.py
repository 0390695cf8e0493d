"""Tests that paste docs/quickstart-*.md on a host like the page's, with a real kube-apiserver, etcd and kubectl.

The tests stand for kubelet, systemd and docker: they start the containers of the manifests with unchanged arguments.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from konnectivity.tool.pki import private_keys
from support.helm_chart import CHART, helm_or_skip
from support.host import Host
from support.shell import blocks
from support.waiting import until

DOCS = Path(__file__).parents[2] / "docs"
MANIFESTS = "/etc/kubernetes/manifests"
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def kubeadms_apiserver(cluster):
    """Return the relevant parts of kubeadm's static pod of kube-apiserver."""
    command = ["kube-apiserver", *cluster.apiserver_arguments()]
    mount = {"name": "k8s-certs", "mountPath": "/etc/kubernetes/pki", "readOnly": True}
    volume = {"name": "k8s-certs", "hostPath": {"path": "/etc/kubernetes/pki", "type": "DirectoryOrCreate"}}
    container = {"name": "kube-apiserver", "image": "kube-apiserver", "command": command, "volumeMounts": [mount]}
    head = {"name": "kube-apiserver", "namespace": "kube-system"}
    spec = {"containers": [container], "hostNetwork": True, "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec}


def start_pod(host, name, ready):
    """Start a static pod from its current manifest; return its container and its process."""
    spec = yaml.safe_load(host.run("cat", f"{MANIFESTS}/{name}.yaml"))["spec"]
    return spec["containers"][0], host.start_container(spec, name, ready)


def may_use(host, name):
    """Check that the static pod's user can read the files in its flags, cannot write them, and can make the socket."""
    spec = yaml.safe_load(host.run("cat", f"{MANIFESTS}/{name}.yaml"))["spec"]
    ids = spec["securityContext"]
    user = ("setpriv", f"--reuid={ids['runAsUser']}", f"--regid={ids['runAsGroup']}", "--clear-groups", "--")
    flags = dict(each.split("=", 1) for each in spec["containers"][0]["args"])
    for flag in ("--cluster-cert", "--cluster-key", "--kubeconfig"):
        host.run(*user, "test", "-r", flags[flag])
        with pytest.raises(subprocess.CalledProcessError):
            host.run(*user, "test", "-w", flags[flag])
    host.run(*user, "test", "-w", str(Path(flags["--uds-name"]).parent))


class Kubeadm:
    """Host of a control plane and a node, in the state in which `kubeadm` leaves them."""

    def __init__(self, cluster, directory, kube):
        self.cluster = cluster
        ips = ("127.0.0.1", "10.96.0.1")
        cluster.authority.issue("apiserver", dns=NAMES, ips=ips, server=True).write(cluster.directory, "apiserver")
        self.control = Host(directory / "control", cluster.namespaces.control, kube)
        self.node = Host(directory / "node", cluster.namespaces.node, kube)

    def start(self):
        cluster = self.cluster
        self.control.write("/etc/kubernetes/pki/ca.crt", cluster.authority.certificate_pem)
        self.control.write("/etc/kubernetes/pki/ca.key", private_keys.to_pem(cluster.authority.key))
        self.control.write("/etc/kubernetes/admin.conf", cluster.path("admin.kubeconfig").read_bytes())
        manifest = yaml.safe_dump(kubeadms_apiserver(cluster)).encode()
        self.control.write(f"{MANIFESTS}/kube-apiserver.yaml", manifest)
        cluster.start_etcd()
        self.start_apiserver()
        cluster.add_node()

    def start_apiserver(self):
        _, self.apiserver = start_pod(self.control, "kube-apiserver", "Serving securely")
        self.wait_for_apiserver()

    def wait_for_apiserver(self):
        until(self.cluster.ready, "kube-apiserver is ready")

    def restart_apiserver(self):
        self.apiserver.stop()
        self.start_apiserver()

    def start_agent(self):
        """Start the cluster's agent with the files that a kubelet mounts into its container."""
        get = ("-n", "kube-system", "get", "-o", "json")
        spec = json.loads(self.cluster.ok(*get, "daemonset", "konnectivity-agent"))["spec"]["template"]["spec"]
        (source,) = spec["volumes"][0]["projected"]["sources"]
        token = source["serviceAccountToken"]
        self.node.write(
            f"/var/run/secrets/tokens/{token['path']}", self.cluster.token(audience=token["audience"]).encode()
        )
        config_map = json.loads(self.cluster.ok(*get, "configmap", spec["volumes"][1]["configMap"]["name"]))
        self.node.write("/etc/konnectivity/ca/ca.crt", config_map["data"]["ca.crt"].encode())
        return spec["containers"][0], self.node.start_container(spec, "konnectivity-agent", "Connected to server")

    def stop(self):
        for host in (self.node, self.control):
            host.stop()


def need(*names):
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")


@pytest.fixture
def kubeadm(make_cluster, programs, tmp_path):
    need("unshare", "setpriv")
    cluster = make_cluster(tmp_path / "cluster")
    made = Kubeadm(cluster, tmp_path, programs / "kube")
    try:
        made.start()
        yield made
    finally:
        made.stop()
        cluster.stop()


DOCKER = """
container=kind-control-plane
case $1 in
    cp) cp "${2#$container:}" "${3#$container:}" ;;
    exec) test "$2" = $container; shift 2; exec "$@" ;;
esac
"""


def test_kind(kubeadm):
    """The pasted commands work for kind, where the host stands for the container of the control plane's node."""
    host, cluster = kubeadm.control, kubeadm.cluster
    host.program("docker", DOCKER)
    host.program("kind", "test -f kind.yaml")
    kubeadm.node.run("sh", "-c", "echo 192.0.2.1 kind-control-plane >> /etc/hosts")
    create, files, manifests, apiserver = blocks(DOCS / "start/quickstart-kind.md")
    with host.shell() as shell:
        shell.paste("export KUBECONFIG=/etc/kubernetes/admin.conf")
        shell.paste(create)
        shell.paste(files)
        assert "daemonset.apps/konnectivity-agent created" in shell.paste(manifests)
        start_pod(host, "konnectivity-server", "Proxy server started")
        may_use(host, "konnectivity-server")
        kubeadm.start_agent()
        shell.paste(apiserver)
    kubeadm.restart_apiserver()
    assert cluster.ok("logs", "pod").count(b"\n") == 10


def on_control_plane_nodes(host, cluster):
    """Start the server from the DaemonSet's pod."""
    found = json.loads(cluster.ok("-n", "kube-system", "get", "daemonset", "konnectivity-server", "-o", "json"))
    spec = found["spec"]["template"]["spec"]
    return host.start_container(spec, "konnectivity-server", "Proxy server started")


def helm_test(hooks, node):
    """Run the command of the chart's test on the agent's node; return its output."""
    (pod,) = yaml.safe_load_all(hooks)
    (container,) = pod["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    assert command[0] == "/usr/bin/konnectivity"
    return node.run(sys.executable, "-m", "konnectivity.tool.cli", *command[1:])


def test_helm(kubeadm):
    host, cluster = kubeadm.control, kubeadm.cluster
    host.program("helm", f'HELM_CACHE_HOME=$PWD/helm HELM_CONFIG_HOME=$PWD/helm exec {helm_or_skip()} "$@"')
    files, install, apiserver, upgrade, undo, clean = blocks(DOCS / "start/helm.md")
    with host.shell() as shell:
        shell.paste(f"export KUBECONFIG=/etc/kubernetes/admin.conf CHART={CHART}")
        shell.paste(files)
        assert "helm -n kube-system test konnectivity --logs" in shell.paste(install)
        server = on_control_plane_nodes(host, cluster)
        _, agent = kubeadm.start_agent()
        found = helm_test(shell.paste("helm -n kube-system get hooks konnectivity"), kubeadm.node)
        assert "connected to 1 of 1 servers" in found
        shell.paste(apiserver)
        kubeadm.restart_apiserver()
        assert cluster.ok("logs", "pod").count(b"\n") == 10
        assert "REVISION: 2" in shell.paste(upgrade)
        shell.paste(undo)
        for each in (server, agent):
            each.stop()
        kubeadm.restart_apiserver()
        assert 'release "konnectivity" uninstalled' in shell.paste(clean)
    assert cluster.run("-n", "kube-system", "get", "daemonset", "-o", "name").stdout == b""


def test_k0s(kubeadm):
    need("systemd-analyze")
    host, cluster = kubeadm.control, kubeadm.cluster
    host.write("/var/lib/k0s/pki/ca.crt", cluster.authority.certificate_pem)
    host.write("/var/lib/k0s/pki/ca.key", private_keys.to_pem(cluster.authority.key))
    host.run("sh", "-c", "echo konnectivity-server:x:65000:65000::/:/bin/false >> /etc/passwd")
    host.run("mkdir", "-p", "/opt/konnectivity/bin", "/etc/k0s")
    host.run("ln", "-s", str(Path(sys.executable).parent / "proxy-server"), "/opt/konnectivity/bin/proxy-server")
    files, unit, config, agents = blocks(DOCS / "start/quickstart-k0s.md")
    with host.shell() as shell:
        shell.paste(f"cp {cluster.path('admin.kubeconfig')} admin.conf; export KUBECONFIG=$PWD/admin.conf")
        shell.paste(files)
        shell.paste(unit)
        shell.paste(config)
        shell.paste(agents)
    service = "/etc/systemd/system/konnectivity-server.service"
    assert host.run("systemd-analyze", "verify", "--man=no", service) == ""
    settings = host.run("cat", service).replace("\\\n", " ").splitlines()
    (command,) = [each.removeprefix("ExecStart=").split() for each in settings if each.startswith("ExecStart=")]
    host.run("mkdir", "/run/konnectivity-server")  # systemd's RuntimeDirectory
    host.start(command, "Proxy server started")
    cluster.ok(
        "apply", "-f", "-", stdin=host.run("cat", "/var/lib/k0s/manifests/konnectivity-agents/all.yaml").encode()
    )
    kubeadm.start_agent()
    extra = yaml.safe_load(host.run("cat", "/etc/k0s/k0s.yaml"))["spec"]["api"]["extraArgs"]
    kubeadm.apiserver.stop()
    flags = [f"--{name}={value}" for name, value in extra.items()]
    command = [str(host.kube), "kube-apiserver", *cluster.apiserver_arguments(), *flags]
    kubeadm.apiserver = host.start(command, "Serving securely")
    kubeadm.wait_for_apiserver()
    assert cluster.ok("logs", "pod").count(b"\n") == 10

"""A cluster of two network namespaces: etcd, kube-apiserver and proxy-server in one, a node and its agent in the other.

The control plane has no route to the node's own address, so every connection to it passes through the agent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import ProgramProcess
from konnectivity.tool.pki import private_keys
from konnectivity.tool.pki.authority import Authority
from support import cluster_programs
from support.cluster_programs import PROGRAMS
from support.kubeconfig_file import kubeconfig
from support.kubectl_command import KubectlCommand

NODE_IP = "198.51.100.10"
OUR_PROGRAMS = ("proxy-server", "proxy-agent")
NODE_OBJECTS = [
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}},
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "default"},
        "spec": {"nodeName": "node", "containers": [{"name": "it", "image": "none"}]},
    },
]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def programs():
    """Build `kube` and `node` and return their folder."""
    missing = cluster_programs.missing()
    missing += [f"the program {name}" for name in ("ip", "nsenter") if shutil.which(name) is None]
    missing += ["root, for network namespaces"] * (os.getuid() != 0)
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    return PROGRAMS


class Namespaces:
    """The network namespaces `control` and `node`, with one line between them.

    Args:
        beside: other namespaces, whose `control` these share; all nodes have one address, and none reaches another.
    """

    def __init__(self, beside: Namespaces | None = None) -> None:
        self.number = 0 if beside is None else beside.number + 1
        self.control = f"konnectivity-control-{os.getpid()}"
        self.node = f"konnectivity-node-{os.getpid()}-{self.number}"
        self.control_ip, node_ip = (f"192.0.2.{4 * self.number + end}" for end in (1, 2))
        self._own = [self.node] if beside else [self.control, self.node]
        for name in self._own:
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        line = f"line{self.number}"
        self._ip("-n", self.control, "link", "add", line, "type", "veth", "peer", "name", line, "netns", self.node)
        for name, address in ((self.control, self.control_ip), (self.node, node_ip)):
            self._ip("-n", name, "address", "add", f"{address}/30", "dev", line)
            self._ip("-n", name, "link", "set", line, "up")
        self._ip("-n", self.node, "address", "add", f"{NODE_IP}/32", "dev", "lo")

    def remove(self) -> None:
        for name in self._own:
            self._ip("netns", "delete", name)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, timeout=10)


class Cluster(KubectlCommand):
    """Processes of the cluster, and kubectl of its administrator.

    Args:
        directory: directory for all files.
        namespaces: network namespaces of control plane and node.
        local_ip: address of etcd and, unless it is 127.0.0.1, of kube-apiserver, which then listens on no other.
    """

    node_ip = NODE_IP

    def __init__(self, directory: Path, namespaces: Namespaces, local_ip: str = "127.0.0.1") -> None:
        self.local_ip = local_ip
        self.api = f"https://{local_ip}:6443"
        kubectl = [str(PROGRAMS / "kube"), "kubectl", f"--kubeconfig={directory / 'admin.kubeconfig'}"]
        super().__init__(["ip", "netns", "exec", namespaces.control, *kubectl])
        self.directory = directory
        self.namespaces = namespaces
        self.processes: list[ProgramProcess] = []
        self.authority = Authority.create("cluster")
        self.authority.write(directory)
        self.path("ca.key").write_bytes(private_keys.to_pem(self.authority.key))
        for name, ips in (("apiserver", (local_ip, "10.96.0.1")), ("node", (NODE_IP,))):
            names = ("node.default.svc",) if name == "node" else ()
            self.authority.issue(name, dns=names, ips=ips, server=True).write(directory, name)
        for name in ("kubelet-client", "front-proxy"):
            self.authority.issue(name, client=True).write(directory, name)
        self._pair("service-accounts")
        self.path("tokens.csv").write_text("admin-token,admin,1,system:masters\n")
        self._kubeconfig("admin")
        ca = (f"--ca-cert={self.path('ca.crt')}", f"--ca-key={self.path('ca.key')}")
        self.konnectivity("kubeconfig", f"--file={self.path('server.kubeconfig')}", f"--server={self.api}", *ca)
        self.konnectivity("pki", f"--directory={self.path('pki')}", f"--server-ip={namespaces.control_ip}", *ca)

    def path(self, name: str) -> Path:
        return self.directory / name

    def konnectivity(self, *arguments: str) -> None:
        """Run our tool, as a person does to set up a control plane."""
        command = [sys.executable, "-m", "konnectivity.tool.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr

    def _pair(self, name: str) -> None:
        """Write a key pair that signs tokens of service accounts."""
        _, key = self.authority.issue(name, client=True).write(self.directory, name)
        public = subprocess.run(
            ["openssl", "pkey", "-in", str(key), "-pubout"], check=True, timeout=10, capture_output=True
        )
        self.path(f"{name}.pub").write_bytes(public.stdout)

    def _kubeconfig(self, user: str) -> None:
        config = kubeconfig(
            {"server": self.api, "certificate-authority": str(self.path("ca.crt"))}, {"token": f"{user}-token"}
        )
        self.path(f"{user}.kubeconfig").write_text(config)

    def start(self, namespace: str, program: str, *arguments: str, ready: str) -> ProgramProcess:
        """Start one of the programs in a namespace, and wait for a text in its log."""
        command = [str(PROGRAMS / program)]
        if program in OUR_PROGRAMS:
            command = launcher.command(program)
        elif program != "node":
            command = [str(PROGRAMS / "kube"), program]
        within = ["netns", "exec", namespace, *command, *arguments]
        ip = shutil.which("ip")
        assert ip is not None
        process = ProgramProcess(ip, within, self.path(f"{program}-{len(self.processes)}.log"))
        self.processes.append(process)
        process.wait_for(ready, timeout_s=60)
        return process

    def start_etcd(self) -> None:
        self.start(
            self.namespaces.control,
            "etcd",
            f"--data-dir={self.path('etcd')}",
            "--unsafe-no-fsync",
            "--log-level=info",
            f"--listen-client-urls=http://{self.local_ip}:2379",
            f"--advertise-client-urls=http://{self.local_ip}:2379",
            f"--listen-peer-urls=http://{self.local_ip}:2380",
            ready="ready to serve client requests",
        )

    def start_apiserver(self, egress: Path | None = None) -> ProgramProcess:
        arguments = self.apiserver_arguments()
        if egress is not None:
            arguments.append(f"--egress-selector-config-file={egress}")
        return self.start(self.namespaces.control, "kube-apiserver", *arguments, ready="Serving securely")

    def apiserver_arguments(self) -> list[str]:
        p = self.path
        address = [] if self.local_ip == "127.0.0.1" else [f"--bind-address={self.local_ip}"]
        return [
            *address,
            f"--etcd-servers=http://{self.local_ip}:2379",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--advertise-address={self.namespaces.control_ip}",
            f"--tls-cert-file={p('apiserver.crt')}",
            f"--tls-private-key-file={p('apiserver.key')}",
            f"--client-ca-file={p('ca.crt')}",
            f"--token-auth-file={p('tokens.csv')}",
            "--authorization-mode=Node,RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={p('service-accounts.pub')}",
            f"--service-account-signing-key-file={p('service-accounts.key')}",
            f"--kubelet-certificate-authority={p('ca.crt')}",
            f"--kubelet-client-certificate={p('kubelet-client.crt')}",
            f"--kubelet-client-key={p('kubelet-client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={p('ca.crt')}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={p('front-proxy.crt')}",
            f"--proxy-client-key-file={p('front-proxy.key')}",
            "--enable-aggregator-routing=true",
        ]

    def start_node(self) -> None:
        files = (f"--cert={self.path('node.crt')}", f"--key={self.path('node.key')}")
        self.start(self.namespaces.node, "node", f"--listen={NODE_IP}:10250", *files, ready="serving")

    def start_server(self, transport: str) -> ProgramProcess:
        frontend = [f"--uds-name={self.path('frontend.sock')}", "--server-port=0"]
        if transport == "connect-tls":
            names = {"cert": "frontend.crt", "key": "frontend.key", "ca-cert": "frontend-ca.crt"}
            frontend = [f"--server-{flag}={self.path('pki') / name}" for flag, name in names.items()]
            frontend += ["--server-bind-address=127.0.0.1", "--server-port=8131"]
        return self.start(
            self.namespaces.control,
            "proxy-server",
            f"--mode={'grpc' if transport == 'grpc-uds' else 'http-connect'}",
            *frontend,
            "--agent-port=8132",
            f"--cluster-cert={self.path('pki/server.crt')}",
            f"--cluster-key={self.path('pki/server.key')}",
            f"--kubeconfig={self.path('server.kubeconfig')}",
            "--agent-namespace=kube-system",
            "--agent-service-account=konnectivity-agent",
            "--authentication-audience=system:konnectivity-server",
            "--enable-lease-controller",
            "--admin-bind-address=127.0.0.1",
            ready="Proxy server started",
        )

    def start_agent(self, token: str, ready: str = "Connected to server") -> ProgramProcess:
        file = self.path(f"token-{len(self.processes)}")
        file.write_text(token)
        return self.start(
            self.namespaces.node,
            "proxy-agent",
            f"--proxy-server-host={self.namespaces.control_ip}",
            "--proxy-server-port=8132",
            f"--ca-cert={self.path('pki/ca.crt')}",
            f"--service-account-token-path={file}",
            f"--agent-identifiers=ipv4={NODE_IP}",
            "--sync-interval=200ms",
            "--sync-interval-cap=1s",
            ready=ready,
        )

    def apply(self, *objects: dict) -> None:
        self.ok("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())

    def add_node(self) -> None:
        """Make the objects of a node and of a pod on it, start the node, and report both as running."""
        self.apply(*NODE_OBJECTS)
        self.say_running()
        self.start_node()

    def say_running(self) -> None:
        """Report node and pod as running, as a kubelet does."""
        addresses = [{"type": "InternalIP", "address": self.node_ip}]
        status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
        self.ok("patch", "node", "node", "--subresource=status", "-p", json.dumps({"status": status}))
        self.ok("patch", "pod", "pod", "--subresource=status", "-p", json.dumps({"status": {"phase": "Running"}}))

    def token(self, audience: str = "system:konnectivity-server", account: str = "konnectivity-agent") -> str:
        return self.ok("-n", "kube-system", "create", "token", account, f"--audience={audience}").decode()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


@pytest.fixture(scope="module")
def make_cluster(programs):
    """Yield a function: directory -> cluster with nothing started yet."""
    made = Namespaces()
    yield lambda directory: Cluster(directory, made)
    made.remove()


@pytest.fixture(scope="module")
def make_clusters(programs):
    """Yield a function: directory, number -> clusters beside each other, which share the network of control planes."""
    made = []

    def make(directory: Path, count: int) -> list[Cluster]:
        clusters = []
        for number in range(1, count + 1):
            made.append(Namespaces(made[-1] if made else None))
            folder = directory / f"cluster-{number}"
            folder.mkdir()
            clusters.append(Cluster(folder, made[-1], f"127.0.0.{number + 1}"))
        return clusters

    yield make
    for each in reversed(made):
        each.remove()

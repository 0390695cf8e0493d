"""Cluster of two real nodes, `control` and `worker`: kubelets, container runtimes, pods.

The control plane has no route to the worker and its pods, and the worker accepts no connection from it: only the tunnel
reaches the worker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import node_services
from kubeadm_files import FILES, MANIFESTS, SOCKETS, ClusterCredentials, apiserver_pod
from kubectl import Kubectl
from metrics_server import MetricsServer
from node_machine import NodeMachine, command

from support.checkout import DOCS
from support.shell import Shell, blocks
from support.waiting import until

CONTROL_IP, LINK_IP, WORKER_IP = "192.0.2.1", "192.0.2.2", "198.51.100.10"
CONTROL_PODS, WORKER_PODS = "10.244.0.0/24", "10.244.1.0/24"
AGENT = "konnectivity-agent"  # workload, service account and label of the agents
TAINT = "node-role.kubernetes.io/control-plane:NoSchedule"
TRANSPORTS = {"grpc-uds": 6443, "connect-uds": 6444, "connect-tls": 6445}  # transport -> port of its API server
READY_TIMEOUT_S = 180.0

# The worker drops each packet of the control plane that belongs to no connection opened by the worker.
_GUARD = """table inet guard {
    chain input { type filter hook input priority -10; iifname "line" ct state != { established, related } drop; }
    chain forward { type filter hook forward priority -10; iifname "line" ct state != { established, related } drop; }
}
"""


class RealCluster:
    """Cluster of both nodes. Owns the nodes, the administrator's shell and a client of each API server.

    Args:
        directory: folder for the nodes' files.
        programs: directory with the cluster's programs.
        images: archive of the images, which both nodes import.
    """

    def __init__(self, directory: Path, programs: Path, images: Path) -> None:
        self.directory = directory
        self.programs = programs
        self.credentials = ClusterCredentials(CONTROL_IP)
        self.control = NodeMachine("control", directory / "control")
        self.worker = NodeMachine("worker", directory / "worker")
        self.clients = {name: self._client(name, port) for name, port in TRANSPORTS.items()}
        self.kubectl = self.clients["grpc-uds"]
        self.metrics_server = MetricsServer(self.kubectl, programs / "metrics-server.yaml")
        self.work = directory / "work"  # working directory of the administrator's shell
        self.quickstart: list[str] = []  # output of each pasted block of the page
        self._images = images
        self._shell: Shell | None = None

    def _prepare(self) -> None:
        control, worker, programs = self.control, self.worker, self.programs
        for node in (control, worker):
            node.prepare()
        self._connect_nodes()
        node_services.add_node(control, programs, self._images, CONTROL_IP, CONTROL_PODS, TAINT)
        node_services.add_node(worker, programs, self._images, WORKER_IP, WORKER_PODS)
        self.credentials.write_node(control, CONTROL_IP)
        self.credentials.write_node(worker, WORKER_IP)
        self.credentials.write_control(control)
        node_services.add_control_plane(control, programs)
        node_services.add_kube_proxy(worker, programs)
        control.write(f"{MANIFESTS}/kube-apiserver.yaml", apiserver_pod(programs, CONTROL_IP))

    def _connect_nodes(self) -> None:
        control, worker = self.control, self.worker
        control.ip("link", "add", "line", "type", "veth", "peer", "name", "line", "netns", worker.label)
        for node, address in ((control, CONTROL_IP), (worker, LINK_IP)):
            node.ip("address", "add", f"{address}/30", "dev", "line")
            node.ip("link", "set", "line", "up")
        worker.ip("address", "add", f"{WORKER_IP}/32", "dev", "lo")
        guard = self.directory / "guard.nft"
        guard.write_text(_GUARD)
        command(*worker.in_network("nft", "-f", str(guard)))

    def _client(self, transport: str, port: int) -> Kubectl:
        config = self.directory / f"{transport}.conf"
        server = f"https://{CONTROL_IP}:{port}"
        config.write_text(self.credentials.kubeconfig("kubernetes-admin", "system:masters", server))
        return Kubectl(transport, self.control, self.programs / "kube", config)

    def start(self) -> None:
        """Make and start both nodes; return when they are ready for pods."""
        self._prepare()
        self.control.start()
        self.worker.start()
        self.wait_for_api(self.kubectl)
        k = self.kubectl
        k.ok("wait", "--for=create", "node/control", "node/worker", "--timeout=80s")
        k.ok("wait", "--for=condition=Ready", "node/control", "node/worker", "--timeout=80s")
        k.ok(
            "create",
            "clusterrolebinding",
            "kubeadm:cluster-admins",
            "--clusterrole=cluster-admin",
            "--group=kubeadm:cluster-admins",
        )
        k.ok("wait", "--for=create", "serviceaccount/default", "--timeout=80s")

    def wait_for_api(self, client: Kubectl) -> None:
        """Wait until an API server is ready; curl asks, since each start of kubectl takes CPU time from the server."""
        url = f"https://{CONTROL_IP}:{TRANSPORTS[client.transport]}/readyz"
        ask = self.control.in_network("curl", "-fsk", "-m5", url)
        expected = f"the API server of {client.transport} is ready"
        until(lambda: subprocess.run(ask, capture_output=True).returncode == 0, expected, READY_TIMEOUT_S)

    def start_shell(self) -> Shell:
        """Start the shell of an administrator on the control plane's node, with our tool and kubectl."""
        work = self.work
        (work / "bin").mkdir(parents=True, exist_ok=True)
        tool = work / "bin/kubectl"
        tool.write_text(f'#!/bin/sh\nexec {self.programs}/kube kubectl "$@"\n')
        tool.chmod(0o755)
        path = f"{work / 'bin'}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        within = ["nsenter", "-t", str(self.control.pid), "--mount", "--net", f"--wd={work}"]
        self.end_shell()
        self._shell = Shell(self.directory, {"PATH": path}, within)
        return self._shell

    def end_shell(self) -> None:
        """End the administrator's shell, if one runs."""
        if self._shell is not None:
            self._shell.__exit__(None, None, None)
            self._shell = None

    def install(self) -> None:
        """Paste the installation of docs/start/quickstart-kubeadm.md and keep the output of its blocks.

        The other transports are added while the page's kube-apiserver restarts, which takes longer.
        """
        shell = self.start_shell()
        files, manifests, apiserver, *_ = blocks(DOCS / "start/quickstart-kubeadm.md")
        self.quickstart = [shell.paste(files), shell.paste(manifests)]
        self.wait_for_agents()
        before = {pod: self.containers(pod) for pod in ("kube-apiserver", "konnectivity-server")}
        self.quickstart.append(shell.paste(apiserver))
        self._add_transports()
        for pod, containers in before.items():
            self.wait_for_restart(pod, containers)
        for client in self.clients.values():
            self.wait_for_api(client)

    @staticmethod
    def tool(*arguments: str) -> str:
        """Run `konnectivity` and return its output."""
        return command(sys.executable, "-m", "konnectivity.tool.cli", *arguments)

    def agent_objects(self, *options: str) -> bytes:
        """Return the objects that the quickstart applies for agents, made with more options."""
        ca = self.work / "pki/ca.crt"
        return self.tool("manifests", "all", f"--server={CONTROL_IP}", f"--ca={ca}", *options).encode()

    def wait_for_agents(self, kind: str = "daemonset") -> None:
        """Wait until the rollout of the agents is complete."""
        self.kubectl.ok("-n", "kube-system", "rollout", "status", f"{kind}/{AGENT}", "--timeout=80s")

    def containers(self, pod: str) -> set[str]:
        """Return the ids of the containers of one of the control plane's static pods, also while its API is away."""
        labels = f'labels."io.kubernetes.pod.name"=={pod}-control,labels."io.cri-containerd.kind"==container'
        return set(self.control.run("ctr", "--namespace=k8s.io", "containers", "list", "--quiet", labels).split())

    def wait_for_restart(self, pod: str, before: set[str]) -> None:
        """Wait until a static pod has other containers than `before`, and the API server is ready."""

        def restarted() -> bool:
            now = self.containers(pod)
            return bool(now) and not now & before

        until(restarted, f"{pod} has another container", READY_TIMEOUT_S)
        self.wait_for_api(self.kubectl)

    def _add_transports(self) -> None:
        """Give the server a listener with mutual TLS, and start an API server for each of the other transports."""
        control = self.control
        names = self.directory / "frontend"
        self.tool("pki", f"--directory={names}", f"--server-ip={CONTROL_IP}")
        for each in ("frontend.crt", "frontend.key", "frontend-ca.crt", "client.crt", "client.key"):
            control.write(f"{FILES}/{each}", (names / each).read_bytes(), 0o444)
        socket = f"{SOCKETS}/konnectivity-server.socket"
        ways = {
            "connect-uds": ["--mode=http-connect", f"--uds={socket}"],
            "connect-tls": [
                *("--mode=http-connect", "--url=https://127.0.0.1:8131", f"--ca-cert={FILES}/frontend-ca.crt"),
                *(f"--client-cert={FILES}/client.crt", f"--client-key={FILES}/client.key"),
            ],
        }
        control.write(f"{MANIFESTS}/konnectivity-server.yaml", self.tool("manifests", "server", *self.server_arguments))
        for transport, way in ways.items():
            file = self.directory / f"{transport}.yaml"
            self.tool("egress-config", *way, f"--file={file}")
            control.write(f"{FILES}/{transport}.yaml", file.read_bytes(), 0o444)
            flags = {"egress-selector-config-file": f"{FILES}/{transport}.yaml", "endpoint-reconciler-type": "none"}
            name = f"kube-apiserver-{transport}"
            pod = apiserver_pod(self.programs, CONTROL_IP, name, TRANSPORTS[transport], flags)
            control.write(f"{MANIFESTS}/{name}.yaml", pod)

    @property
    def server_arguments(self) -> list[str]:
        """Return the arguments of `konnectivity manifests server` for a listener with mutual TLS, and a short drain."""
        flags = {
            "graceful-shutdown-timeout": "3s",
            "server-port": "8131",
            "server-bind-address": "127.0.0.1",
            "server-cert": f"{FILES}/frontend.crt",
            "server-key": f"{FILES}/frontend.key",
            "server-ca-cert": f"{FILES}/frontend-ca.crt",
        }
        return [f"--extra-arg=--{flag}={value}" for flag, value in flags.items()]

    def everywhere(self, check: Callable[[Kubectl], object]) -> None:
        """Run a check by all transports side by side.

        Raises:
            ExceptionGroup: the failures, each with a note that names its transport.
        """
        failures = []
        with ThreadPoolExecutor(len(self.clients)) as pool:
            running = {name: pool.submit(check, client) for name, client in self.clients.items()}
            for name, each in running.items():
                if error := each.exception():
                    error.add_note(f"transport: {name}")
                    failures.append(error)
        if failures:
            raise BaseExceptionGroup("the check failed", failures)

    def wait_until_it_works(self, timeout_s: float = 60.0, clients: Iterable[Kubectl] | None = None) -> float:
        """Wait until an exec succeeds by each transport; return the seconds until the last did."""
        began = time.monotonic()
        for client in clients or self.clients.values():
            expected = f"an exec succeeds by {client.transport}"
            until(lambda client=client: client.run("exec", "web", "--", "true").returncode == 0, expected, timeout_s)
        return time.monotonic() - began

    def remove(self) -> None:
        """End the cluster and remove its processes, networks, cgroups and files."""
        with ExitStack() as stack:  # each of these runs, whichever of them fails
            stack.callback(self.worker.remove)
            stack.callback(self.control.remove)
            stack.callback(self.end_shell)

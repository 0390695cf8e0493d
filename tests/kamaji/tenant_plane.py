"""Tenant control plane: its object, the pods of Kamaji's Deployment, its nodes, and its agents.

Owns the processes of the pods. Does the work of a cloud, of a Deployment controller and of kubelets, and leaves the
objects that Kamaji makes as they are.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import load_balancer
import yaml
from cluster_client import ClusterClient, Object
from management_cluster import CACHE, TENANTS, ManagementCluster
from namespaces import Spoke
from pod_runner import Pod, container
from pod_volumes import PodVolumes
from tenant_objects import konnectivity

from konnectivity.testing.deployment import ProgramProcess
from support.waiting import until

NODE_IP = "198.51.100.10"  # reached by nothing but agents
SYSTEM = "kube-system"
AGENT = "konnectivity-agent"
SERVER = "konnectivity-server"
API_PORT = 6443
PORTS = (API_PORT, 8132, 9132)  # ports that a test may choose for agents among them
NODES = 2
_AVAILABLE = ("Available", "Progressing")


class TenantPlane:
    """Tenant control plane with an address of its own.

    Args:
        management: cluster that Kamaji runs in.
        number: number of the tenant control plane, the last part of its address.
        made: its object.
        replicas: number of the control plane's pods that are run.
    """

    def __init__(self, management: ManagementCluster, number: int, made: Object, replicas: int = 1) -> None:
        self.made = made
        self.name = made["metadata"]["name"]
        self.address = f"203.0.113.{number}"
        self.management = management
        self.admin = management.client
        self.directory = management.path(self.name)
        self.directory.mkdir()
        namespaces = management.namespaces
        namespaces.add_address(namespaces.hub, self.address)
        namespaces.add_host(self.address, f"{self.name}.{TENANTS}.svc")
        self.places = [namespaces.spoke(f"{self.name}-{each}") for each in range(replicas)]
        self.nodes = [namespaces.spoke(f"{self.name}-node-{each}", NODE_IP) for each in range(NODES)]
        self.pods: list[Pod] = []
        self.servers: list[ProgramProcess] = []
        self._agents: list[Pod] = []
        self._count = 0
        self.kubeconfig = self.directory / "tenant.kubeconfig"
        self.tenant: ClusterClient = management.client_with(self.kubeconfig)

    def create(self) -> None:
        """Create the object, and let agents reach its address."""
        text = yaml.safe_dump(self.made).encode()
        self.admin.ok("apply", "--validate=strict", "-f", "-", stdin=text)
        self.expose()
        self.server()

    def expose(self) -> None:
        """Assign the address of the Service, as a cloud does."""
        until(lambda: self.admin.get(TENANTS, "service", self.name), "Kamaji makes the Service")
        status = {"loadBalancer": {"ingress": [{"ip": self.address}]}}
        self.admin.set_status(TENANTS, "service", self.name, status)

    def object(self) -> Object:
        return self.admin.there(TENANTS, "tcp", self.name)

    def addon(self) -> Object | None:
        return self.object()["spec"]["addons"].get("konnectivity")

    def patch(self, body: Object | str) -> None:
        self.admin.patch(TENANTS, "tcp", self.name, body)

    def patch_addon(self, **addon: Object | None) -> None:
        self.patch({"spec": {"addons": {"konnectivity": addon or None}}})

    def deployment(self, wanted: Callable[[Object], object] = bool) -> Object:
        """Wait until the Deployment meets a condition, report its pods as ready, and return it."""

        def found() -> Object | None:
            made = self.admin.get(TENANTS, "deployment", self.name)
            try:
                return made if made and wanted(made) else None
            except StopIteration:  # no such container yet
                return None

        made = until(found, lambda: f"the Deployment meets the condition:\n{self.management.manager.log[-3000:]}")
        self._report_ready(made)
        return made

    def server(self, wanted: Callable[[Object], object] = bool) -> Object:
        """Wait until the server's container in the Deployment meets a condition, and return the container."""
        made = self.deployment(lambda found: wanted(container(found["spec"]["template"]["spec"], SERVER)))
        return container(made["spec"]["template"]["spec"], SERVER)

    def workload(self, kind: str, wanted: Callable[[Object], object] = bool, name: str = AGENT) -> Object:
        """Wait until the agents' DaemonSet or Deployment has its token's audience and meets a condition; return it."""

        def found() -> Object | None:
            made = self.tenant.get(SYSTEM, kind, name)
            if not made:
                return None
            (source,) = made["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
            return made if source["serviceAccountToken"].get("audience") and wanted(made) else None

        return until(found, lambda: f"the agents' {kind} meets the condition:\n{self.management.manager.log[-3000:]}")

    def workload_kind(self) -> str:
        addon = self.addon()
        assert addon is not None
        return addon["agent"]["mode"].lower()

    def _report_ready(self, made: Object) -> None:
        """Report the Deployment's pods as ready, as its controller does."""
        count = made["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        conditions = [{"type": each, "status": "True", "reason": "it", "message": "it"} for each in _AVAILABLE]
        status = {"observedGeneration": made["metadata"]["generation"], "conditions": conditions}
        self.admin.set_status(TENANTS, "deployment", self.name, status | dict.fromkeys(names, count))

    # The control plane's pods

    def start(self, *, ours: bool = True) -> None:
        """Create the object and start all programs but agents, with our images or with Kamaji's default."""
        self.create()
        if ours:
            self.patch(konnectivity("manifests", "kamaji-patch"))
            self.server(lambda found: found["image"].startswith("localhost/konnectivity/"))
        self.start_pods()
        config, pods = self.directory / "haproxy.cfg", [each.address for each in self.places]
        self.management.run(*load_balancer.command(config, self.address, PORTS, pods, API_PORT))
        self._wait_for_api()
        self._start_nodes()

    def start_pods(self) -> None:
        """Start a pod of the Deployment in each place."""
        for place in self.places:
            self.start_pod(place)
        for pod in self.pods:
            pod.wait_for_probe("kube-apiserver")

    def start_pod(self, place: Spoke) -> None:
        """Start a pod of the Deployment, with the server if the addon is on."""
        template = self.deployment()["spec"]["template"]["spec"]
        pod = self.pod("control", template, TENANTS, self.admin, place)
        self.pods.append(pod)
        if any(each["name"] == SERVER for each in template["containers"]):
            self.servers.append(pod.start(SERVER))
        pod.start("kube-apiserver", waits=False)

    def roll(self) -> None:
        """Replace the control plane's pods by pods of the current Deployment."""
        for each in self.pods:
            each.stop()
        self.pods, self.servers = [], []
        self.start_pods()
        self._wait_for_api()

    def replace_servers(self) -> None:
        """Replace the server in each pod by that of the current Deployment; kube-apiserver keeps running."""
        for at in range(len(self.places)):
            self.replace_server(at)

    def replace_server(self, at: int) -> None:
        """Replace one pod's server. The pod's new volumes share its folder of sockets with kube-apiserver."""
        self.servers[at].stop()
        old = self.pods[at].volumes.paths
        template = self.deployment()["spec"]["template"]["spec"]
        kept = {"konnectivity-uds": old["konnectivity-uds"]}
        pod = self.pod("server", template, TENANTS, self.admin, self.places[at], kept)
        self.pods.append(pod)
        self.servers[at] = pod.start(SERVER)

    def _wait_for_api(self) -> None:
        """Wait until the tenant's API accepts the administrator's current kubeconfig."""

        def ready() -> bool:
            self.write_kubeconfig()
            return self.tenant.ready()

        until(ready, lambda: f"the tenant's API is ready: {self.tenant.run('get', '--raw', '/readyz').stderr.decode()}")

    def write_kubeconfig(self) -> None:
        """Write the administrator's kubeconfig that Kamaji makes."""
        data = self.admin.there(TENANTS, "secret", f"{self.name}-admin-kubeconfig")["data"]
        self.kubeconfig.write_bytes(base64.b64decode(data.get("super-admin.conf") or data["admin.conf"]))

    def ca(self) -> str:
        data = self.admin.there(TENANTS, "secret", f"{self.name}-ca")["data"]
        return base64.b64decode(data["ca.crt"]).decode()

    # The node and its agents

    def _start_nodes(self) -> None:
        files = self.management.authority.issue("node", ips=(NODE_IP,), server=True).write(self.directory, "node")
        flags = (f"--listen={NODE_IP}:10250", f"--cert={files[0]}", f"--key={files[1]}")
        for each in self.nodes:
            self.management.run(CACHE / "bin" / "node", *flags, ready="serving", namespace=each.namespace)
        head = {"name": "pod", "namespace": "default"}
        spec = {
            "nodeName": "node",
            "automountServiceAccountToken": False,
            "containers": [{"name": "it", "image": "none"}],
            "tolerations": [{"operator": "Exists"}],
        }
        self.tenant.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec},
        )
        self.publish_ca()
        addresses = [{"type": "InternalIP", "address": NODE_IP}]
        status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
        self.tenant.set_status("default", "node", "node", status)
        self.tenant.set_status("default", "pod", "pod", {"phase": "Running"})

    def publish_ca(self) -> None:
        """Publish the cluster's CA in each namespace that needs it, as kube-controller-manager does."""
        head = {"name": "kube-root-ca.crt", "namespace": SYSTEM}
        self.tenant.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": {"ca.crt": self.ca()}})

    def start_agent(self, kind: str = "", node: int = 0, name: str = AGENT) -> Pod:
        """Start an agent of the tenant's DaemonSet or Deployment on a node."""
        spec = self.admitted_agent(kind, name)["spec"]
        pod = self.pod("agent", spec, SYSTEM, self.tenant, self.nodes[node])
        self._agents.append(pod)
        pod.start(AGENT)
        return pod

    def admitted_agent(self, kind: str = "", name: str = AGENT) -> Object:
        """Return a pod of the agents' workload with the account's files, which the API server's admission adds."""
        spec = self.workload(kind or self.workload_kind(), name=name)["spec"]["template"]["spec"]
        head = {"name": "agent", "namespace": SYSTEM}
        text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec}).encode()
        return json.loads(self.tenant.ok("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))

    def pod(
        self,
        name: str,
        spec: Object,
        namespace: str,
        client: ClusterClient,
        place: Spoke,
        kept: dict[str, Path] | None = None,
    ) -> Pod:
        self._count += 1
        directory = self.directory / f"{self._count:02}-{name}"
        volumes = PodVolumes(spec, namespace, client, directory / "volumes", kept)
        namespaces = self.management.namespaces
        return Pod(spec, volumes, directory, namespaces.within(place.namespace), namespaces.hosts)

    # Use

    def past_the_balancer(self, at: int) -> tuple[str, str]:
        """Return the options of kubectl that name the API server of one pod in place of the load balancer."""
        return f"--server=https://{self.places[at].address}:{API_PORT}", "--tls-server-name=localhost"

    def direct(self, at: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run kubectl with the API server of one pod, past the load balancer."""
        return self.tenant.run(*self.past_the_balancer(at), *arguments)

    def works(self, timeout_s: float = 60) -> None:
        """Check that logs, exec, and exec with input reach a pod that only an agent can reach."""
        for at in range(len(self.places)):
            until(
                lambda: self.direct(at, "logs", "pod").returncode == 0,  # noqa: B023 - called before `at` changes
                lambda: self.direct(at, "logs", "pod").stderr.decode(),  # noqa: B023
                timeout_s,
            )
        assert self.tenant.ok("logs", "pod").count(b"\n") == 10
        assert b"ran [echo hello]" in self.tenant.ok("exec", "pod", "--", "echo", "hello")
        data = os.urandom(300_000).hex().encode()
        assert self.tenant.ok("exec", "-i", "pod", "--", "cat", stdin=data) == data

    def stop_agents(self) -> None:
        for each in self._agents:
            each.stop()
        self._agents = []

    def stop(self) -> None:
        self.stop_agents()
        for each in self.pods:
            each.stop()

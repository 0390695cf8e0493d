"""Values for the chart: one set for each kind of installation, and one other value for each entry of values.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from support.helm_chart import CHART, Values, merged

CA = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
AGENTS: Values = {"image": {"repository": "registry.example.com/konnectivity"}, "agent": {"servers": ["192.0.2.1"]}}
AGENT_DEPLOYMENT = merged(AGENTS, {"agent": {"kind": "Deployment"}})
COUNTING = merged(AGENTS, {"leases": {"enabled": True}})
SERVERS = {
    kind: merged(AGENTS, {"agent": {"enabled": False}, "server": {"enabled": True, "kind": kind}})
    for kind in ("DaemonSet", "Deployment", "Sidecar")
}
ON_NODES, IN_PODS, BESIDE = SERVERS["DaemonSet"], SERVERS["Deployment"], SERVERS["Sidecar"]
GATEWAY = merged(AGENTS, {"agent": {"enabled": False}, "gateway": {"enabled": True}})
SCALED = merged(GATEWAY, {"gateway": {"autoscaling": {"enabled": True}}})
OWN_ACCOUNT = merged(IN_PODS, {"server": {"useServiceAccount": True}})
POLICY = merged(AGENTS, IN_PODS, {"agent": {"enabled": True}, "networkPolicy": {"enabled": True}})
BOTH = merged(POLICY, {"networkPolicy": {"enabled": False}})


def monitored(part: str) -> Values:
    return merged(BOTH, {"monitoring": {part: {"enabled": True}}})


_PEER = [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
_AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
    {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
]}}}  # fmt: skip
_TOLERATIONS = [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]
_RESOURCES = {"limits": {"memory": "1Gi"}}

# Path of an entry: values around it, and another value than the default. The rendered objects must differ by it.
SWITCHES: dict[str, tuple[Values, Any]] = {
    "image.repository": (AGENTS, "other.example.com/k"),
    "image.tag": (AGENTS, "1.2.3"),
    "image.pullPolicy": (BOTH, "Always"),
    "image.pullSecrets": (BOTH, [{"name": "registry"}]),
    "agent.enabled": (BOTH, False),
    "agent.image": (AGENTS, f"registry.example.com/agent@sha256:{'0' * 64}"),
    "agent.kind": (AGENTS, "Deployment"),
    "agent.replicas": (AGENT_DEPLOYMENT, 3),
    "agent.servers": (AGENTS, ["a.example.com", "192.0.2.2:9000"]),
    "agent.port": (AGENTS, 443),
    "agent.ca": (AGENTS, CA),
    "agent.hostNetwork": (AGENTS, True),
    "agent.extraArgs": (AGENTS, {"--v": 6, "--sync-forever": True, "--health-server-port": "9000"}),
    "agent.resources": (AGENTS, _RESOURCES),
    "agent.tolerations": (AGENTS, _TOLERATIONS),
    "agent.nodeSelector": (AGENTS, {"pool": "a"}),
    "agent.affinity": (AGENTS, _AFFINITY),
    "agent.priorityClassName": (AGENTS, "system-node-critical"),
    "agent.podLabels": (AGENTS, {"a": "b"}),
    "agent.podAnnotations": (AGENTS, {"a": "b"}),
    "agent.serviceAccountAnnotations": (AGENTS, {"a": "b"}),
    "server.enabled": (AGENTS, True),
    "server.kind": (ON_NODES, "Sidecar"),
    "server.image": (BESIDE, "registry.example.com/server:1"),
    "server.replicas": (IN_PODS, 3),
    "server.count": (IN_PODS, 5),
    "server.port": (IN_PODS, 9132),
    "server.mode": (ON_NODES, "grpc"),
    "server.agentNamespace": (IN_PODS, "kube-agents"),
    "server.files": (ON_NODES, ""),
    "server.sockets": (ON_NODES, "/run/konnectivity"),
    "server.tlsSecret": (IN_PODS, "its-certificate"),
    "server.kubeconfigSecret": (BESIDE, "its-kubeconfig"),
    "server.useServiceAccount": (IN_PODS, True),
    "server.egressConfigMap": (BESIDE, "its-egress"),
    "server.frontend.port": (IN_PODS, 9090),
    "server.frontend.secret": (IN_PODS, "its-frontend"),
    "server.extraArgs": (ON_NODES, {"--health-bind-address": "", "--kubeconfig-burst": 2000000}),
    "server.resources": (IN_PODS, _RESOURCES),
    "server.tolerations": (IN_PODS, _TOLERATIONS),
    "server.nodeSelector": (ON_NODES, {"node-role.kubernetes.io/control-plane": "true"}),
    "server.affinity": (IN_PODS, _AFFINITY),
    "server.priorityClassName": (IN_PODS, "system-cluster-critical"),
    "server.podLabels": (ON_NODES, {"a": "b"}),
    "server.podAnnotations": (ON_NODES, {"a": "b"}),
    "server.serviceAccountAnnotations": (IN_PODS, {"a": "b"}),
    "gateway.enabled": (AGENTS, True),
    "gateway.port": (GATEWAY, 9132),
    "gateway.replicas": (GATEWAY, 3),
    "gateway.tlsSecret": (GATEWAY, "its-certificate"),
    "gateway.peers.enabled": (GATEWAY, False),
    "gateway.peers.secret": (GATEWAY, "its-peers"),
    "gateway.adminTokenSecret": (GATEWAY, "its-tokens"),
    "gateway.shards": (GATEWAY, 2),
    "gateway.autoscaling.enabled": (GATEWAY, True),
    "gateway.autoscaling.maxReplicas": (SCALED, 9),
    "gateway.autoscaling.cpuPercent": (SCALED, 50),
    "gateway.autoscaling.tunnels": (SCALED, 2000),
    "gateway.service.type": (GATEWAY, "LoadBalancer"),
    "gateway.service.nodePort": (merged(GATEWAY, {"gateway": {"service": {"type": "NodePort"}}}), 30132),
    "gateway.service.annotations": (GATEWAY, {"a": "b"}),
    "gateway.extraArgs": (GATEWAY, {"--v": 6}),
    "gateway.resources": (GATEWAY, {"limits": {"memory": "2Gi"}}),
    "gateway.tolerations": (GATEWAY, _TOLERATIONS),
    "gateway.nodeSelector": (GATEWAY, {"pool": "a"}),
    "gateway.affinity": (GATEWAY, _AFFINITY),
    "gateway.priorityClassName": (GATEWAY, "system-cluster-critical"),
    "gateway.podLabels": (GATEWAY, {"a": "b"}),
    "gateway.podAnnotations": (GATEWAY, {"a": "b"}),
    "gateway.serviceAccountAnnotations": (GATEWAY, {"a": "b"}),
    "service.enabled": (IN_PODS, False),
    "service.type": (IN_PODS, "headless"),
    "service.nodePort": (merged(IN_PODS, {"service": {"type": "NodePort"}}), 30132),
    "service.annotations": (merged(IN_PODS, {"service": {"type": "LoadBalancer"}}), {"a": "b"}),
    "leases.enabled": (BOTH, True),
    "leases.namespace": (COUNTING, "default"),
    "leases.createNamespace": (COUNTING, False),
    "rbac.create": (AGENTS, False),
    "rbac.agentIdentityToken": (OWN_ACCOUNT, True),
    "rbac.probeNodeEvents": (OWN_ACCOUNT, True),
    "podDisruptionBudget.enabled": (merged(BOTH, AGENT_DEPLOYMENT), False),
    "networkPolicy.enabled": (BOTH, True),
    "networkPolicy.agentPeers": (POLICY, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    "networkPolicy.frontendPeers": (POLICY, _PEER),
    "networkPolicy.monitoringPeers": (POLICY, _PEER),
    "networkPolicy.agentEgress": (POLICY, [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]),
    "monitoring.podMonitor.enabled": (BOTH, True),
    "monitoring.podMonitor.labels": (monitored("podMonitor"), {"release": "prometheus"}),
    "monitoring.podMonitor.interval": (monitored("podMonitor"), "30s"),
    "monitoring.serviceMonitor.enabled": (BOTH, True),
    "monitoring.serviceMonitor.labels": (monitored("serviceMonitor"), {"release": "prometheus"}),
    "monitoring.serviceMonitor.interval": (monitored("serviceMonitor"), "1m"),
    "monitoring.rules.enabled": (AGENTS, True),
    "monitoring.rules.labels": (monitored("rules"), {"release": "prometheus"}),
    "monitoring.rules.expectedAgents": (monitored("rules"), "vector(7)"),
    "monitoring.dashboard.enabled": (AGENTS, True),
    "monitoring.dashboard.labels": (monitored("dashboard"), {"dashboards": "yes"}),
    "monitoring.dashboard.annotations": (monitored("dashboard"), {"grafana_folder": "Network"}),
    "test.enabled": (BOTH, False),
}


@cache
def defaults() -> Values:
    made: Values = yaml.safe_load((CHART / "values.yaml").read_text())
    return made


def entries(values: Values, path: str = "") -> Iterator[str]:
    """Yield the path of each entry of values.yaml; an entry whose keys are the user's own is one entry."""
    for key, value in values.items():
        place = f"{path}{key}"
        if isinstance(value, dict) and value and place not in SWITCHES:
            yield from entries(value, f"{place}.")
        else:
            yield place

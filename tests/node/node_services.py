"""Services of nodes: container runtime, kubelet, kube-proxy, and the rest of the control plane but kube-apiserver."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from image_archive import PAUSE
from kubeadm_files import MANIFESTS, PKI, PODS, SERVICES
from node_machine import NodeMachine, hierarchies

RUNTIME = "/run/containerd/containerd.sock"

# A container such as CI's may neither lower the oom score of a process nor mount in the /run of the machine.
_CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
"""


def add_node(node: NodeMachine, programs: Path, images: Path, address: str, pods: str, taint: str = "") -> None:
    """Add container runtime and kubelet; `pods` is the address range of the node's pods."""
    node.write("/etc/containerd.toml", _CONTAINERD)
    node.write("/etc/cni/net.d/10-bridge.conflist", json.dumps(_pod_network(pods)))
    node.write("/etc/kubernetes/kubelet.yaml", yaml.safe_dump(_kubelet(address)))
    node.path(MANIFESTS).mkdir(parents=True, exist_ok=True)
    _service(node, "containerd", "exec containerd --config /etc/containerd.toml")
    taints = f"--register-with-taints={taint}" if taint else ""
    kubelet = f"""
until ctr version; do sleep 0.1; done
[ -e /var/lib/imported ] || ctr -n k8s.io images import {images}
touch /var/lib/imported
exec {programs}/kube kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \\
    --hostname-override={node.name} --node-ip={address} {taints}"""
    _service(node, "kubelet", kubelet)


def add_kube_proxy(node: NodeMachine, programs: Path) -> None:
    """Add kube-proxy, which leaves the limits of connection tracking alone, since the whole machine shares them."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.conf"},
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    node.write("/etc/kubernetes/kube-proxy.yaml", yaml.safe_dump(config))
    command = (
        f"exec {programs}/kube kube-proxy --config=/etc/kubernetes/kube-proxy.yaml --hostname-override={node.name}"
    )
    _service(node, "kube-proxy", command)


def add_control_plane(node: NodeMachine, programs: Path) -> None:
    """Add etcd, controller manager and scheduler.

    A controller manager that has lost its API server may take an object of the same name for the one that it knew. As
    with kubeadm, it and the scheduler lose their leases then, and start anew.
    """
    etcd = f"exec {programs}/kube etcd --data-dir=/var/lib/etcd --unsafe-no-fsync --log-level=warn"
    _service(node, "etcd", etcd)
    manager = " ".join(
        (
            "--bind-address=127.0.0.1 --use-service-account-credentials=true",
            f"--cluster-cidr={PODS} --service-cluster-ip-range={SERVICES}",
            f"--client-ca-file={PKI}/ca.crt --root-ca-file={PKI}/ca.crt",
            f"--cluster-signing-cert-file={PKI}/ca.crt --cluster-signing-key-file={PKI}/ca.key",
            f"--service-account-private-key-file={PKI}/sa.key",
        )
    )
    for name, flags in (
        ("controller-manager", manager),
        ("scheduler", "--bind-address=127.0.0.1"),
    ):
        users = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        configs = " ".join(f"--{flag}=/etc/kubernetes/{name}.conf" for flag in users)
        script = f"while :; do {programs}/kube kube-{name} {configs} {flags} || sleep 1; done"
        _service(node, f"kube-{name}", script)


def _service(node: NodeMachine, name: str, script: str) -> None:
    (node.directory / "services" / name).write_text(f"{script.lstrip()}\n")


def _pod_network(pods: str) -> dict[str, object]:
    ipam = {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet(address: str) -> dict[str, object]:
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "10s"},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{RUNTIME}",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "resolvConf": "/etc/resolv.conf",
        "clusterDomain": "cluster.local",
        "staticPodPath": MANIFESTS,
        "fileCheckFrequency": "2s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }
    if hierarchies() != ("unified",):
        config["failCgroupV1"] = False
    return config

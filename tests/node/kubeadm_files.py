"""Files of /etc/kubernetes as kubeadm leaves them: certificates, kubeconfigs, and the static pod of kube-apiserver."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from image_archive import BUSYBOX
from node_machine import NodeMachine

from konnectivity.tool.pki import private_keys
from konnectivity.tool.pki.authority import Authority, CertificateIdentity
from support.kubeconfig_file import kubeconfig

PKI = "/etc/kubernetes/pki"
MANIFESTS = "/etc/kubernetes/manifests"
FILES = "/etc/kubernetes/konnectivity"
SOCKETS = "/etc/kubernetes/konnectivity-server"
SERVICES, PODS = "10.96.0.0/16", "10.244.0.0/16"
SERVICE_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class ClusterCredentials:
    """Certificate authorities of a cluster, and the certificates and kubeconfigs that they issue."""

    def __init__(self, control_ip: str) -> None:
        self.api = f"https://{control_ip}:6443"
        self._control_ip = control_ip
        self._ca, self._front = Authority.create("kubernetes"), Authority.create("front-proxy-ca")
        self.webhook = Authority.create("webhook")

    def write_control(self, node: NodeMachine) -> None:
        """Write the files of the control plane's node."""
        ca, front = self._ca, self._front
        for name, authority in (("ca", ca), ("front-proxy-ca", front)):
            node.write(f"{PKI}/{name}.crt", authority.certificate_pem, 0o644)
            node.write(f"{PKI}/{name}.key", private_keys.to_pem(authority.key))
        ips = (self._control_ip, "127.0.0.1", "10.96.0.1")
        self._pair(node, "apiserver", ca.issue("kube-apiserver", dns=SERVICE_NAMES, ips=ips, server=True))
        client = ca.issue("kube-apiserver-kubelet-client", organization="kubeadm:cluster-admins", client=True)
        self._pair(node, "apiserver-kubelet-client", client)
        self._pair(node, "front-proxy-client", front.issue("front-proxy-client", client=True))
        key = private_keys.new()
        node.write(f"{PKI}/sa.key", private_keys.to_pem(key))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        node.write(f"{PKI}/sa.pub", key.public_key().public_bytes(serialization.Encoding.PEM, form))
        node.write("/etc/kubernetes/admin.conf", self.kubeconfig("kubernetes-admin", "system:masters"))
        for name in ("controller-manager", "scheduler"):
            node.write(f"/etc/kubernetes/{name}.conf", self.kubeconfig(f"system:kube-{name}"))

    def write_node(self, node: NodeMachine, address: str) -> None:
        """Write the files of a kubelet and of kube-proxy."""
        user = f"system:node:{node.name}"
        node.write(f"{PKI}/ca.crt", self._ca.certificate_pem, 0o644)
        self._pair(node, "kubelet", self._ca.issue(user, dns=(node.name,), ips=(address,), server=True))
        node.write("/etc/kubernetes/kubelet.conf", self.kubeconfig(user, "system:nodes"))
        node.write("/etc/kubernetes/kube-proxy.conf", self.kubeconfig("system:kube-proxy"))

    def kubeconfig(self, user: str, group: str = "", server: str = "") -> str:
        """Return a kubeconfig with a new client certificate of a user."""
        issued = self._ca.issue(user, organization=group, client=True)
        cluster = {"server": server or self.api, "certificate-authority-data": _base64(self._ca.certificate_pem)}
        login = {
            "client-certificate-data": _base64(issued.cert_pem),
            "client-key-data": _base64(issued.key_pem),
        }
        return kubeconfig(cluster, login)

    def _pair(self, node: NodeMachine, name: str, pair: CertificateIdentity) -> None:
        node.write(f"{PKI}/{name}.crt", pair.cert_pem, 0o644)
        node.write(f"{PKI}/{name}.key", pair.key_pem)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def apiserver_pod(
    programs: Path, address: str, name: str = "kube-apiserver", port: int = 6443, flags: Mapping[str, str] | None = None
) -> str:
    """Return the static pod of a kube-apiserver.

    Args:
        programs: directory of this machine with the executable.
        address: IP address of the node.
        name: name of the pod.
        port: port for clients and probes.
        flags: flags beside kubeadm's, or other values of these.
    """
    values = _apiserver_flags(address, port) | dict(flags or {})
    folders = {"k8s-certs": PKI, "programs": str(programs)}
    if flags:
        folders |= {"konnectivity-files": FILES, "konnectivity-sockets": SOCKETS}
    ready, live = (
        {"httpGet": {"host": address, "path": path, "port": port, "scheme": "HTTPS"}, "timeoutSeconds": 15}
        for path in ("/readyz", "/livez")
    )
    container = {
        "name": name,
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": [f"{programs}/kube", "kube-apiserver", *(f"--{flag}={value}" for flag, value in values.items())],
        "readinessProbe": {**ready, "periodSeconds": 1},
        "livenessProbe": {**live, "initialDelaySeconds": 20, "failureThreshold": 8},
        "volumeMounts": [{"name": each, "mountPath": path, "readOnly": True} for each, path in folders.items()],
    }
    spec = {
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 1,  # kube-apiserver waits for all watches: 30 s of kubeadm's grace would pass
        "priorityClassName": "system-node-critical",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": each, "hostPath": {"path": path}} for each, path in folders.items()],
    }
    head = {"name": name, "namespace": "kube-system", "labels": {"component": name, "tier": "control-plane"}}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec})


def _apiserver_flags(address: str, port: int) -> dict[str, str]:
    """Return the flags that kubeadm gives to a kube-apiserver, by name."""
    return {
        "advertise-address": address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{PKI}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "etcd-servers": "http://127.0.0.1:2379",
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "secure-port": str(port),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": SERVICES,
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
    }

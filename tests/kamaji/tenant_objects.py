"""Objects that the tests give to Kamaji: tenant control planes and a gateway, and the output of our tool."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import yaml
from management_cluster import TENANTS

from support.checkout import DOCS

VERSION = "v1.33.0"
HOSTNAME = "demo.example.com"  # by which agents reach the tenant control plane behind the gateway
GATEWAY_CONTROLLER = "example.com/gateway"
Object = dict[str, Any]


def tenant(name: str, replicas: int = 1, **addon: Any) -> Object:
    """Return the example of Kamaji's page on Konnectivity, with the field `kubelet` that today's CRD demands."""
    konnectivity = {"server": {"port": 8132}, "agent": {"mode": "DaemonSet"}} | addon
    return {
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": TENANTS},
        "spec": {
            "dataStore": "default",
            "controlPlane": {"deployment": {"replicas": replicas}, "service": {"serviceType": "LoadBalancer"}},
            "kubernetes": {"version": VERSION, "kubelet": {"cgroupfs": "systemd"}},
            "networkProfile": {"port": 6443},
            "addons": {"konnectivity": konnectivity},
        },
    }


def page_tenant() -> Object:
    """Return the tenant control plane of docs/start/quickstart-kamaji.md."""
    page = (DOCS / "start" / "quickstart-kamaji.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return yaml.safe_load(example)


def gateway_tenant() -> Object:
    """Return a tenant control plane behind a gateway, as in Kamaji's sample."""
    made = tenant("behind-gateway")
    made["spec"]["controlPlane"]["service"]["serviceType"] = "ClusterIP"
    made["spec"]["controlPlane"]["gateway"] = {
        "hostname": HOSTNAME,
        "parentRefs": [{"name": "gateway", "namespace": "default"}],
    }
    made["spec"]["networkProfile"]["certSANs"] = [HOSTNAME]
    return made


def gateway_objects() -> list[Object]:
    """Return a gateway with the two listeners that Kamaji's page demands, and its class."""
    listeners = [
        {
            "name": name,
            "port": port,
            "protocol": "TLS",
            "hostname": "*.example.com",
            "tls": {"mode": "Passthrough"},
            "allowedRoutes": {
                "kinds": [{"group": "gateway.networking.k8s.io", "kind": "TLSRoute"}],
                "namespaces": {"from": "All"},
            },
        }
        for name, port in (("kube-apiserver", 6443), ("konnectivity-server", 8132))
    ]
    version = "gateway.networking.k8s.io/v1"
    return [
        {
            "apiVersion": version,
            "kind": "GatewayClass",
            "metadata": {"name": "it"},
            "spec": {"controllerName": GATEWAY_CONTROLLER},
        },
        {
            "apiVersion": version,
            "kind": "Gateway",
            "metadata": {"name": "gateway", "namespace": "default"},
            "spec": {"gatewayClassName": "it", "listeners": listeners},
        },
    ]


def konnectivity(*arguments: str, stdin: bytes = b"") -> str:
    """Run our tool and return its output."""
    command = [sys.executable, "-m", "konnectivity.tool.cli", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()

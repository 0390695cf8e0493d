"""Service that agents dial."""

from __future__ import annotations

from konnectivity.tool.manifests import object_names
from konnectivity.tool.manifests.object_names import ManifestError, Object

CLUSTER_IP, NODE_PORT, LOAD_BALANCER, HEADLESS = "ClusterIP", "NodePort", "LoadBalancer", "headless"
TYPES = (CLUSTER_IP, NODE_PORT, LOAD_BALANCER, HEADLESS)
NODE_PORTS = range(30000, 32768)


def service(type_: str = CLUSTER_IP, port: int = object_names.AGENT_PORT, node_port: int | None = None) -> Object:
    """Return the headless Service of the server's pods: its name resolves to every pod, and agents dial all of them."""
    head = object_names.metadata(object_names.SERVER, labels=object_names.labels(object_names.SERVER))
    spec = service_spec(object_names.SERVER, type_, port, node_port)
    return {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": spec}


def service_spec(label: str, type_: str, port: int, node_port: int | None) -> Object:
    """Return the specification of a Service of the pods with a label.

    Raises:
        ManifestError: the port on the nodes is not possible.

    """
    if node_port is not None and type_ != NODE_PORT:
        raise ManifestError(f"a node port is for type {NODE_PORT}, not {type_}")
    spec: Object = {"type": CLUSTER_IP, "clusterIP": "None"} if type_ == HEADLESS else {"type": type_}
    return spec | {"selector": object_names.labels(label), "ports": [port_entry(port, node_port)]}


def port_entry(port: int, node_port: int | None = None) -> Object:
    made: Object = {"name": object_names.SERVER, "port": port, "targetPort": port, "protocol": "TCP"}
    if node_port is not None:
        if node_port not in NODE_PORTS:
            raise ManifestError(
                f"port {node_port}: node ports are {NODE_PORTS.start} to {NODE_PORTS.stop - 1}, "
                "unless the cluster says otherwise"
            )
        made["nodePort"] = node_port
    return made

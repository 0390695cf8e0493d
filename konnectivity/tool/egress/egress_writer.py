"""Writer of a configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

API_VERSION = "apiserver.k8s.io/v1beta1"
KIND = "EgressSelectorConfiguration"
NAMES = ("cluster", "controlplane", "etcd")
GRPC, HTTP_CONNECT, DIRECT = "GRPC", "HTTPConnect", "Direct"


def uds(path: str) -> dict[str, Any]:
    """Return a transport over the server's unix socket."""
    return {"uds": {"udsName": path}}


def tcp(url: str, ca: str, certificate: str, key: str, server_name: str = "") -> dict[str, Any]:
    """Return a transport over TCP and TLS, with paths on kube-apiserver's machine."""
    tls = {"caBundle": ca, "clientCert": certificate, "clientKey": key, "tlsServerName": server_name}
    return {"tcp": {"url": url, "tlsConfig": {name: value for name, value in tls.items() if value}}}


def document(protocol: str, transport: dict[str, Any], names: Sequence[str], direct: Sequence[str]) -> dict[str, Any]:
    """Return the whole file: selections in `names` use the proxy, those in `direct` do not."""
    proxied = {"proxyProtocol": protocol, "transport": transport}
    connections = {name: {"proxyProtocol": DIRECT} for name in direct} | dict.fromkeys(names, proxied)
    selections = [{"name": name, "connection": deepcopy(connection)} for name, connection in connections.items()]
    return {"apiVersion": API_VERSION, "kind": KIND, "egressSelections": selections}

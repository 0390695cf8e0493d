"""Roles with the least rights of server and agent (docs/operate/kubernetes.md)."""

from __future__ import annotations

from collections.abc import Sequence

from konnectivity.tool.manifests import object_names
from konnectivity.tool.manifests.object_names import Object

_GROUP = "rbac.authorization.k8s.io"
_API = f"{_GROUP}/v1"
TOKEN_REVIEWS = "konnectivity-server-token-reviews"
SERVER_LEASES = "konnectivity-server-leases"
SERVER_PODS = "konnectivity-server-pods"
SERVER_EVENTS = "konnectivity-server-events"
EVENTS_NAMESPACE = "default"  # of events about nodes, which are in no namespace


def server(
    namespace: str = object_names.NAMESPACE,
    lease_namespace: str = "",
    pods: bool = False,
    events: bool = False,
    tokens: bool = True,
) -> list[Object]:
    """Return the server's roles: token reviews, and those that flags of the server need.

    Args:
        namespace: of the agents.
        lease_namespace: of the leases; empty: the server publishes none.
        pods: whether --agent-identity=token is set.
        events: whether --probe-node-events is set.
        tokens: whether agents show tokens.

    """
    user: Object = {"apiGroup": _GROUP, "kind": "User", "name": object_names.SERVER_USER}
    made: list[Object] = []
    if tokens:
        made += _granted(TOKEN_REVIEWS, None, "authentication.k8s.io", "tokenreviews", ["create"], user)
    if lease_namespace:
        verbs = ["get", "list", "watch", "create", "update", "delete"]
        made += _granted(SERVER_LEASES, lease_namespace, "coordination.k8s.io", "leases", verbs, user)
    if pods:
        made += _granted(SERVER_PODS, namespace, "", "pods", ["get"], user)
    if events:
        made += _granted(SERVER_EVENTS, EVENTS_NAMESPACE, "", "events", ["create"], user)
    return made


def agent(namespace: str, lease_namespace: str, name: str = object_names.AGENT) -> list[Object]:
    """Return the agent's role for counting leases; an agent that counts none has no rights."""
    account: Object = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return _granted(f"{name}-leases", lease_namespace, "coordination.k8s.io", "leases", ["list", "watch"], account)


def lease_namespace(name: str) -> list[Object]:
    """Return the leases' namespace as an object, unless every cluster has it."""
    if name in (object_names.NAMESPACE, "default", "kube-public", "kube-node-lease"):
        return []
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": object_names.metadata(name, None)}]


def auth_delegator() -> Object:
    """Return the binding that Kamaji creates instead: token and access reviews."""
    labels = {"kubernetes.io/cluster-service": "true", "addonmanager.kubernetes.io/mode": "Reconcile"}
    return {
        "apiVersion": _API,
        "kind": "ClusterRoleBinding",
        "metadata": object_names.metadata(object_names.SERVER_USER, None, labels),
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"apiGroup": _GROUP, "kind": "User", "name": object_names.SERVER_USER}],
    }


def _granted(
    name: str, namespace: str | None, group: str, resource: str, verbs: Sequence[str], subject: Object
) -> list[Object]:
    """Return a role and its binding."""
    kind = "Role" if namespace else "ClusterRole"
    rule = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    head = object_names.metadata(name, namespace)
    return [
        {"apiVersion": _API, "kind": kind, "metadata": head, "rules": [rule]},
        {
            "apiVersion": _API,
            "kind": f"{kind}Binding",
            "metadata": dict(head),
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
            "subjects": [subject],
        },
    ]

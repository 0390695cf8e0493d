"""Roles of certificates: which program shows which certificate to which. Pure.

Each edge of a tunnel has a CA of its own: with one CA for both, an agent's certificate would open the frontend. So have
peer servers, which dial through the agents of each other.
"""

from __future__ import annotations

from typing import NamedTuple

AGENTS_CA, FRONTEND_CA, PEER_CA = "ca", "frontend-ca", "peer-ca"
SERVER_AUTH, CLIENT_AUTH = "serverAuth", "clientAuth"


class Role(NamedTuple):
    """Role of a leaf certificate."""

    name: str  # name of the role, and stem of its files
    common_name: str
    usages: tuple[str, ...]
    authority: str  # authority that issues the certificate
    shown_by: str  # the flags that take the certificate and its key


SERVER = Role("server", "konnectivity-server", (SERVER_AUTH,), AGENTS_CA, "proxy-server --cluster-cert, --cluster-key")
FRONTEND = Role(
    "frontend", "konnectivity-frontend", (SERVER_AUTH,), FRONTEND_CA, "proxy-server --server-cert, --server-key"
)
CLIENT = Role(
    "client", "konnectivity-client", (CLIENT_AUTH,), FRONTEND_CA, "kube-apiserver, egress clientCert, clientKey"
)
AGENT = Role("agent", "konnectivity-agent", (CLIENT_AUTH,), AGENTS_CA, "proxy-agent --agent-cert, --agent-key")
PEER = Role("peer", "konnectivity-peer", (SERVER_AUTH, CLIENT_AUTH), PEER_CA, "proxy-server --peer-cert, --peer-key")

USUAL = tuple(role.name for role in (SERVER, FRONTEND, CLIENT, AGENT))  # issued unless others are named
LEAVES = {role.name: role for role in (SERVER, FRONTEND, CLIENT, AGENT, PEER)}
AUTHORITIES = {
    AGENTS_CA: "proxy-agent --ca-cert; proxy-server --cluster-ca-cert",
    FRONTEND_CA: "kube-apiserver, egress caBundle; proxy-server --server-ca-cert",
    PEER_CA: "proxy-server --peer-ca-cert",
}

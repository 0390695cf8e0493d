"""Roles of certificates: which program shows which certificate to which. Pure.

Each edge of a tunnel has a CA of its own: with one CA for both, an agent's certificate would open the frontend.
"""

from __future__ import annotations

from typing import NamedTuple

AGENTS_CA, FRONTEND_CA = "ca", "frontend-ca"
SERVER_AUTH, CLIENT_AUTH = "serverAuth", "clientAuth"


class Role(NamedTuple):
    """Role of a leaf certificate."""

    name: str  # name of the role, and stem of its files
    common_name: str
    usage: str
    authority: str  # authority that issues the certificate
    shown_by: str  # the flags that take the certificate and its key

    @property
    def is_server(self) -> bool:
        return self.usage == SERVER_AUTH


SERVER = Role("server", "konnectivity-server", SERVER_AUTH, AGENTS_CA, "proxy-server --cluster-cert, --cluster-key")
FRONTEND = Role(
    "frontend", "konnectivity-frontend", SERVER_AUTH, FRONTEND_CA, "proxy-server --server-cert, --server-key"
)
CLIENT = Role("client", "konnectivity-client", CLIENT_AUTH, FRONTEND_CA, "kube-apiserver, egress clientCert, clientKey")
AGENT = Role("agent", "konnectivity-agent", CLIENT_AUTH, AGENTS_CA, "proxy-agent --agent-cert, --agent-key")

LEAVES = {role.name: role for role in (SERVER, FRONTEND, CLIENT, AGENT)}
AUTHORITIES = {
    AGENTS_CA: "proxy-agent --ca-cert; proxy-server --cluster-ca-cert",
    FRONTEND_CA: "kube-apiserver, egress caBundle; proxy-server --server-ca-cert",
}

"""Deployment whose server has one TCP port for agents, frontends and peer servers, told apart by their CA."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from konnectivity.client import tls_context
from konnectivity.testing.deployment import Deployment
from konnectivity.tool.pki.authority import Authority
from support.http2_peer import HostilePeer

CLIENTS = {"agents": "agent", "frontends": "client"}  # role -> name of its certificate's files


class OnePort(Deployment):
    """Deployment with one port. `ca.crt` is the CA of servers, whose certificate the server shows to peers as well."""

    def __post_init__(self) -> None:
        self.authorities = {role: Authority.create(f"CA of {role}") for role in CLIENTS}
        super().__post_init__()
        self.server_port = self.agent_port

    def certify(self, authority: Authority | None = None, **how: Any) -> None:
        """Write the certificates of the server and of the clients of each role."""
        server = self.authority.issue("proxy-server", dns=["localhost"], ips=["127.0.0.1"], server=True, client=True)
        server.write(self.directory, "server")
        for role, each in self.authorities.items():
            self.directory.joinpath(f"{role}.crt").write_bytes(each.certificate_pem)
            each.issue(CLIENTS[role], client=True).write(self.directory, CLIENTS[role])

    def server_arguments(self, *more: str) -> list[str]:
        return super().server_arguments(
            f"--cluster-ca-cert={self.path('agents.crt')}", f"--server-ca-cert={self.path('frontends.crt')}", *more
        )

    def peer_arguments(self, port: int) -> list[str]:
        """Return the flags of a server that takes peers on its one port, and dials a peer at another port."""
        return [
            f"--peer-port={self.agent_port}",
            "--peer-bind-address=127.0.0.1",
            f"--peers=127.0.0.1:{port}",
            f"--peer-cert={self.path('server.crt')}",
            f"--peer-key={self.path('server.key')}",
            f"--peer-ca-cert={self.path('ca.crt')}",
        ]

    def agent_arguments(
        self, *more: str, port: int | None = None, health_port: int = 0, admin_port: int = 0
    ) -> list[str]:
        own = [f"--agent-cert={self.path('agent.crt')}", f"--agent-key={self.path('agent.key')}"]
        return super().agent_arguments(*own, *more, port=port, health_port=health_port, admin_port=admin_port)

    def context(self, name: str, alpn: str = "h2") -> ssl.SSLContext:
        """Return the TLS context of a client with the certificate of this name."""
        mode = "grpc" if alpn == "h2" else "http-connect"
        return tls_context(self.path("ca.crt"), self.path(f"{name}.crt"), self.path(f"{name}.key"), mode)

    async def http2_peer(self, name: str) -> HostilePeer:
        """Connect a peer with the certificate of this name; it has sent nothing yet."""
        return HostilePeer(*await asyncio.open_connection("127.0.0.1", self.agent_port, ssl=self.context(name)))

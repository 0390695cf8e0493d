"""Site of one server with many tenants: the directory of their files, their credentials, and agents of each.

Names of the server are known to a forward proxy only, which every agent uses.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from konnectivity.client import Mode, tls_context
from konnectivity.testing.deployment import Deployment, ProgramProcess
from konnectivity.tool.pki.authority import Authority
from support.forward_proxy_server import ForwardProxy

DOMAIN = "tenants.example"


class TenantSite:
    """Server with `--tenants`, and the folders of its tenants.

    Args:
        directory: directory for all files.

    """

    def __init__(self, directory: Path) -> None:
        self.deployment = Deployment(directory)
        self.directory = directory / "tenants"
        self.directory.mkdir()
        names = ("localhost", f"*.{DOMAIN}")
        self.deployment.authority.issue("proxy-server", dns=names, ips=("127.0.0.1",), server=True).write(
            directory, "server"
        )
        self.authorities: dict[str, Authority] = {}

    def add(self, name: str, *lines: str, authority: Authority | None = None) -> Path:
        """Write the folder of a tenant, and return it."""
        made = self.authorities[name] = authority or Authority.create(f"CA of {name}")
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        made.write(folder)
        made.issue("client", client=True).write(self.deployment.directory, name)
        self.declare(name, "cluster-ca-cert: ca.crt", "server-ca-cert: ca.crt", *lines)
        return folder

    def declare(self, name: str, *lines: str) -> None:
        """Write the file of a tenant as a whole."""
        text = "\n".join((f"server-names: {self.name_of(name)}", *lines)) + "\n"
        new = self.directory / f".{name}"
        new.write_text(text)
        os.replace(new, self.directory / name / "tenant.yaml")

    @staticmethod
    def name_of(tenant: str) -> str:
        """Return the TLS server name of a tenant."""
        return f"{tenant}.{DOMAIN}"

    def server_arguments(self, *more: str) -> list[str]:
        """Return the arguments of the server."""
        one = self.deployment
        return [
            f"--tenants={self.directory}",
            "--mode=grpc,http-connect",
            "--server-bind-address=127.0.0.1",
            f"--server-port={one.server_port}",
            f"--server-cert={one.path('server.crt')}",
            f"--server-key={one.path('server.key')}",
            "--agent-bind-address=127.0.0.1",
            f"--agent-port={one.agent_port}",
            f"--cluster-cert={one.path('server.crt')}",
            f"--cluster-key={one.path('server.key')}",
            "--health-bind-address=127.0.0.1",
            f"--health-port={one.health_port}",
            f"--admin-port={one.admin_port}",
            *more,
        ]

    def start_server(self, *more: str) -> ProgramProcess:
        """Start the server and wait until it serves."""
        server = self.deployment.start_package("konnectivity_server", self.server_arguments(*more))
        server.wait_for("Proxy server started")
        return server

    def start_agent(
        self, proxy: ForwardProxy, tenant: str, credential: str = "", connects: bool = True, *more: str
    ) -> ProgramProcess:
        """Start an agent that asks for a tenant, with the credential of that tenant or of another one."""
        one = self.deployment
        stem = credential or tenant
        return one.start_agent(
            f"--proxy-server-host={self.name_of(tenant)}",
            f"--agent-cert={one.path(f'{stem}.crt')}",
            f"--agent-key={one.path(f'{stem}.key')}",
            f"--agent-id={tenant}-agent",
            *more,
            within=("env", f"HTTPS_PROXY=http://127.0.0.1:{proxy.port}"),
            connects=connects,
        )

    def frontend(self, tenant: str, mode: Mode = "http-connect", credential: str = "") -> dict[str, Any]:
        """Return the arguments of `konnectivity.client.connect` for the frontend of a tenant."""
        one, stem = self.deployment, credential or tenant
        context = tls_context(one.path("ca.crt"), one.path(f"{stem}.crt"), one.path(f"{stem}.key"), mode)
        return {
            "address": f"127.0.0.1:{one.server_port}",
            "mode": mode,
            "tls": context,
            "server_name": self.name_of(tenant),
        }

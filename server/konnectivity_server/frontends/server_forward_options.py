"""Options of `proxy-server` for the forward proxy that it serves to other programs of the control plane."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.forward.listener_options import ListenerDeclarations
from konnectivity.forward.names import name_rules
from konnectivity.forward.names.name_settings import NameSettings, rules_problem
from konnectivity.net.addresses import is_loopback
from konnectivity_server.server_probe_options import ServerProbeOptions

_LISTENERS = ListenerDeclarations("forward-")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ServerForwardOptions(ServerProbeOptions):
    """Options of the forward proxy, which is off by default."""

    forward_bind_address: str = _LISTENERS.bind_address(group="Forward proxy (docs/operate/forward.md)")
    forward_port: int = _LISTENERS.port(0, "no TCP port")
    forward_uds_name: str = _LISTENERS.uds_name()
    forward_credentials_file: str = _LISTENERS.credentials_file()
    forward_max_connections: int = _LISTENERS.max_connections()
    forward_resolve: tuple[str, ...] = _LISTENERS.resolve(
        "kubernetes (the address of the Service service.namespace), local (this machine)"
    )
    forward_cluster_dns: tuple[str, ...] = _LISTENERS.cluster_dns()
    forward_dns_bind_address: str = _LISTENERS.dns_bind_address()
    forward_dns_port: int = _LISTENERS.dns_port()

    @property
    def uses_forward(self) -> bool:
        """Return whether there is a forward proxy, or its DNS listener."""
        return bool(self.forward_port or self.forward_uds_name or self.forward_dns_port)

    @property
    def forward_names(self) -> NameSettings:
        """Return the rules on where the forward proxy resolves names, with the name servers."""
        return NameSettings(self.forward_resolve, self.forward_cluster_dns)

    def forward_problems(self) -> list[str]:
        """Return one error message for each conflict of the options of the forward proxy."""
        found = []
        if problem := _LISTENERS.name_problem(self.forward_resolve, self.forward_cluster_dns):
            found.append(problem)
        if problem := _LISTENERS.dns_problem(self.forward_dns_bind_address, self.forward_dns_port):
            found.append(problem)
        if not rules_problem(self.forward_resolve) and name_rules.DIRECT in self.forward_names.rules.ways:
            found.append("--forward-resolve: direct is for `konnectivity forward` only, since a server dials by agents")
        if self.forward_port and not is_loopback(self.forward_bind_address) and not self.forward_credentials_file:
            found.append(
                f"--forward-bind-address={self.forward_bind_address} is not loopback, and clients show no password: "
                "set --forward-credentials-file"
            )
        return found

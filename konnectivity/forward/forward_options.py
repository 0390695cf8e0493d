"""Options of `konnectivity forward`: the declarations, and the checks of combinations."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.forward.listener_options import ListenerDeclarations
from konnectivity.forward.names.name_settings import NameSettings
from konnectivity.net import addresses
from konnectivity.net.addresses import is_loopback
from konnectivity.runtime.options import (
    duration,
    existing_file,
    one_of,
    option,
    positive,
    size,
)
from konnectivity.runtime.options import (
    port as port_number,
)
from konnectivity.runtime.process_options import ProcessOptions, drain_timeout
from konnectivity.untrusted.numbers import MAX_PORT

DEFAULT_PORT = 8070
_LISTENERS = ListenerDeclarations()


def _frontends(texts: tuple[str, ...]) -> str | None:
    try:
        for text in texts:
            addresses.split_frontend(text)
    except ValueError as error:
        return str(error)
    return None


def _proxy_url(text: str) -> str | None:
    from konnectivity.http1 import forward_proxy

    try:
        forward_proxy.choose({"https_proxy": text}, "proxy.invalid", 443)
    except ValueError as error:
        return str(error).removeprefix("https_proxy").lstrip(": ")
    return "write no password here, which --check-config would show" if "@" in text else None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ForwardOptions(ProcessOptions):
    """Options of `konnectivity forward`."""

    server: tuple[str, ...] = option(
        (),
        group="Proxy server",
        check=_frontends,
        metavar="addresses",
        help="Comma-separated frontends of proxy servers, unix:/path, or host:port for TLS; may be repeated. A dial "
        "that one of them cannot serve is sent to the next one (required).",
    )
    mode: str = option(
        "http-connect", check=one_of("http-connect", "grpc"), help="Protocol of the frontends: http-connect or grpc."
    )
    ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies servers (empty = only unix sockets).",
    )
    cert: str = option(
        "", check=existing_file, metavar="file", help="Client certificate file shown to servers (empty = none)."
    )
    key: str = option("", check=existing_file, metavar="file", help="Private key file of --cert (empty = none).")
    server_name: str = option(
        "", metavar="name", help="Name that the certificate of a server must carry (empty = the host in --server)."
    )
    token_file: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="File with a token shown to servers, whose --frontend-policy may name it; read again when it changes "
        "(empty = none).",
    )
    resolve: tuple[str, ...] = _LISTENERS.resolve(
        "kubernetes (the address of the Service service.namespace), local (this machine), or direct (dialled from this "
        "machine, not through the tunnel)",
        group="Names",
    )
    cluster_dns: tuple[str, ...] = _LISTENERS.cluster_dns()
    outbound_proxy: str = option(
        "",
        check=_proxy_url,
        metavar="url",
        help="URL of an HTTP proxy behind the tunnel, http://host:port, through which destinations are reached; the "
        "agent dials the proxy, and the proxy resolves names (empty = no proxy).",
    )
    outbound_no_proxy: tuple[str, ...] = option(
        (),
        metavar="destinations",
        help="Comma-separated destinations that are dialled without --outbound-proxy, in the form of NO_PROXY: names, "
        "suffixes, addresses, networks; may be repeated (empty = none).",
    )
    kubeconfig: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Kubeconfig file for names that --resolve gives to kubernetes (empty = the pod's service account, else "
        "$KUBECONFIG or ~/.kube/config).",
    )
    dns_bind_address: str = _LISTENERS.dns_bind_address()
    dns_port: int = _LISTENERS.dns_port()
    bind_address: str = _LISTENERS.bind_address(group="Clients")
    port: int = _LISTENERS.port(DEFAULT_PORT, "no TCP port, which needs --uds-name")
    uds_name: str = _LISTENERS.uds_name()
    credentials_file: str = _LISTENERS.credentials_file()
    insecure_allow_unauthenticated_clients: bool = option(
        False,
        help="Listen on an address other than loopback without --credentials-file: anyone who reaches the port can "
        "dial through every agent.",
    )
    max_connections: int = _LISTENERS.max_connections()
    head_timeout: float = option(
        duration("10s"),
        check=positive,
        help="Maximum time for a client to send its SOCKS5 handshake or the head of its HTTP request.",
    )
    dial_timeout: float = option(
        duration("30s"), check=positive, help="Maximum time for a dial, with all servers that are tried."
    )
    idle_timeout: float = option(
        duration("5m"),
        check=positive,
        help="Maximum time between two HTTP requests of a connection, and without a byte of a response. Tunnels have "
        "no limit.",
    )
    max_head: int = option(
        size("64Ki"), check=positive, help="Maximum number of bytes of the head of an HTTP request or response."
    )
    health_bind_address: str = option(
        "127.0.0.1",
        group="Health, metrics",
        metavar="address",
        help="IP address that the health port listens on (empty = all addresses).",
    )
    health_port: int = option(
        0,
        check=port_number(0, MAX_PORT),
        help="TCP port that serves /healthz, /readyz and /metrics (0 = no health port).",
    )
    drain_timeout: float = drain_timeout()

    @property
    def uses_tls(self) -> bool:
        """Return whether a server is reached over TCP, and so over TLS."""
        return any(not addresses.split_frontend(each)[0] for each in self.server)

    @property
    def name_settings(self) -> NameSettings:
        """Return the rules on where names are resolved, with the name servers."""
        return NameSettings(self.resolve, self.cluster_dns)

    def problems(self) -> list[str]:
        found = super().problems()
        if problem := _LISTENERS.name_problem(self.resolve, self.cluster_dns):
            found.append(problem)
        if problem := _LISTENERS.dns_problem(self.dns_bind_address, self.dns_port):
            found.append(problem)
        if not self.server:
            found.append("--server is needed: the frontend of a proxy server")
        elif not _frontends(self.server) and self.uses_tls and not self.ca_cert:
            found.append("--ca-cert is needed for a TCP frontend, which speaks TLS")
        if bool(self.cert) != bool(self.key):
            found.append("--cert and --key go together")
        if not self.port and not self.uds_name:
            found.append("no listener: set --port or --uds-name")
        open_to_all = self.port and not is_loopback(self.bind_address) and not self.credentials_file
        if open_to_all and not self.insecure_allow_unauthenticated_clients:
            found.append(
                f"--bind-address={self.bind_address} is not loopback, and clients show no password: set "
                "--credentials-file (or, knowing that anyone who reaches the port can dial through every agent, "
                "--insecure-allow-unauthenticated-clients)"
            )
        return found

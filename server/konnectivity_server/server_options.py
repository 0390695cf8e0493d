"""Options of `proxy-server`: the declarations, and values derived from them. `option_rules` checks combinations."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.net.addresses import is_loopback, is_unspecified, parse_hosts
from konnectivity.runtime.options import (
    at_least,
    duration,
    existing_directory,
    existing_file,
    header_text,
    one_of,
    option,
    port,
    positive,
)
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT, MAX_SERVER_ID
from konnectivity_server import option_rules
from konnectivity_server.agents import credential_identity
from konnectivity_server.server_service_options import ServerServiceOptions

DEFAULT_PEER_PORT = 8133
GRPC = "grpc"
HTTP_CONNECT = "http-connect"


def _modes(text: str) -> str | None:
    known = {GRPC, HTTP_CONNECT}
    names = text.split(",")
    return None if names and known.issuperset(names) else f"must be {GRPC}, {HTTP_CONNECT}, or both with a comma"


def _port_or_none(value: int) -> str | None:
    return None if value == 0 else port(1024, 49151)(value)


def _hosts(texts: tuple[str, ...]) -> str | None:
    try:
        parse_hosts(texts, DEFAULT_PEER_PORT)
    except ValueError as error:
        return str(error)
    return None


def port_address(host: str, port: int) -> tuple[str, int]:
    """Return the address of a listener, with one spelling for all addresses of the machine."""
    return ("" if is_unspecified(host) else host), port


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ServerOptions(ServerServiceOptions):
    """Options of `proxy-server`; those of its listeners are declared here, the others in the base classes."""

    mode: str = option(
        GRPC,
        group="Frontend (kube-apiserver)",
        check=_modes,
        help="Protocol of the frontend: grpc, http-connect, or grpc,http-connect for both on the same socket.",
    )
    uds_name: str = option(
        "", metavar="path", help="Path of the frontend's unix socket (empty = no unix socket, only TCP)."
    )
    delete_existing_uds_file: bool = option(
        True, help="Replace a unix socket at --uds-name that no running server listens on."
    )
    server_port: int = option(
        8090,
        check=_port_or_none,
        help="TCP port of the frontend, which may be that of --agent-port (0 = no TCP frontend). With --uds-name, the "
        "port is served only if --server-cert is set.",
    )
    server_bind_address: str = option(
        "", metavar="address", help="IP address that the TCP frontend listens on (empty = all addresses)."
    )
    server_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Certificate file of the TCP frontend (empty = no TCP frontend, which needs --uds-name).",
    )
    server_key: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Private key file of --server-cert (empty = no TCP frontend, which needs --uds-name).",
    )
    server_ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies clients of the TCP frontend (empty = no TCP frontend, which needs "
        "--uds-name).",
    )
    frontend_keepalive_time: float = option(
        duration("1h"), check=positive, help="Time without traffic after which a gRPC frontend connection is pinged."
    )
    agent_port: int = option(
        8091,
        group="Agents",
        check=port(1024, 49151),
        help="TCP port that the server listens on for agents. Frontends and peer servers may share it, told apart by "
        "the CA of their certificate.",
    )
    agent_bind_address: str = option(
        "", metavar="address", help="IP address that the server listens on for agents (empty = all addresses)."
    )
    cluster_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Certificate file that the server shows to agents (required).",
    )
    cluster_key: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Private key file of --cluster-cert (required).",
    )
    cluster_ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies client certificates of agents (empty = agents show no certificate).",
    )
    agent_namespace: str = option(
        "",
        metavar="namespace",
        help="Namespace of the agents' service account. With --agent-service-account and --authentication-audience, "
        "each agent must show a token that the Kubernetes API accepts; with --cluster-ca-cert, a certificate as well "
        "(empty = agents show no token).",
    )
    agent_service_account: str = option(
        "",
        metavar="name",
        help="Name of the service account that tokens of agents must belong to (empty = agents show no token).",
    )
    authentication_audience: str = option(
        "", metavar="audience", help="Audience that tokens of agents must have (empty = agents show no token)."
    )
    insecure_allow_unauthenticated_agents: bool = option(
        False,
        help="Accept agents without certificate and token: anyone who reaches --agent-port can receive the cluster's "
        "traffic. Never set this in production.",
    )
    agent_identity: str = option(
        credential_identity.NONE,
        check=one_of(*credential_identity.MODES),
        metavar="credential",
        help="Credential that must contain the addresses an agent claims by --agent-identifiers: none = claims are not "
        "checked; certificate-san = the agent's certificate names them; token = the pod and the node of the agent's "
        "token have them.",
    )
    keepalive_time: float = option(
        duration("1h"), check=positive, help="Time without traffic after which an agent's connection is pinged."
    )
    heartbeat_interval: float = option(
        duration("10s"),
        check=at_least(0),
        help="Time without traffic after which an agent is pinged. An agent that does not answer gets no new dials, "
        "and 20s later its tunnel is closed (0 = no heartbeat).",
    )
    server_id: str = option(
        "",
        env="PROXY_SERVER_ID",
        check=header_text,
        metavar="id",
        help="Unique name of this server, which agents use to tell servers apart (empty = random).",
    )
    server_count: int = option(
        1, help=f"Number of servers that this server announces to agents, from 1 to {MAX_SERVER_COUNT} (0 = 1)."
    )
    tenants: str = option(
        "",
        group="Tenants",
        check=existing_directory,
        metavar="directory",
        help="Directory with a file NAME.yaml, or a folder NAME with a file tenant.yaml, for each tenant; the server "
        "serves these clusters, told apart by TLS server name, and reads changes within a second (empty = the server "
        "serves one cluster).",
    )
    peers: tuple[str, ...] = option(
        (),
        group="Peer servers",
        check=_hosts,
        metavar="hosts",
        help="Comma-separated addresses of other servers, host or host:port, where a name may resolve to all of them "
        "and the port is their --peer-port, 8133 if omitted. A dial that no agent of this server matches is sent "
        "through a peer server (empty = no peer servers are dialled).",
    )
    peer_port: int = option(
        0,
        check=_port_or_none,
        help="TCP port that this server listens on for peer servers, which may be that of --agent-port; with --tenants "
        "the names of --peers lead to it there (0 = no listener).",
    )
    peer_bind_address: str = option(
        "", metavar="address", help="IP address that this server listens on for peer servers (empty = all addresses)."
    )
    peer_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Certificate file shown to peer servers, as server and as client; must contain the name or address by "
        "which their --peers lead to this server (empty = no peer servers).",
    )
    peer_key: str = option(
        "", check=existing_file, metavar="file", help="Private key file of --peer-cert (empty = no peer servers)."
    )
    peer_ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies peer servers; a holder of a certificate of this CA can dial through "
        "every agent, with --tenants of every tenant (empty = no peer servers).",
    )

    @property
    def modes(self) -> list[str]:
        return self.mode.split(",")

    @property
    def processes(self) -> int:
        return self.workers

    @property
    def tcp_frontend(self) -> bool:
        return self.server_port != 0 and (not self.uds_name or bool(self.server_cert) or bool(self.tenants))

    @property
    def ports(self) -> dict[tuple[str, int], list[str]]:
        """Return the roles of the clients of each TCP port, by its address."""
        found = {port_address(self.agent_bind_address, self.agent_port): ["agents"]}
        if self.tcp_frontend:
            found.setdefault(port_address(self.server_bind_address, self.server_port), []).append("frontends")
        if self.peer_port:
            found.setdefault(port_address(self.peer_bind_address, self.peer_port), []).append("peers")
        return found

    @property
    def dashboard(self) -> bool:
        """Return whether the web page is served."""
        return self.admin_is_local if self.enable_dashboard is None else self.enable_dashboard

    @property
    def admin_is_local(self) -> bool:
        """Return whether only programs of this machine reach the admin port."""
        return is_loopback(self.admin_bind_address)

    @property
    def uses_peers(self) -> bool:
        return bool(self.peers or self.peer_port)

    @property
    def agent_files(self) -> tuple[str, str, str]:
        """Certificate, key and CA of the agent listener."""
        return self.cluster_cert, self.cluster_key, self.cluster_ca_cert

    @property
    def frontend_files(self) -> tuple[str, str, str]:
        return self.server_cert, self.server_key, self.server_ca_cert

    @property
    def peer_files(self) -> tuple[str, str, str]:
        return self.peer_cert, self.peer_key, self.peer_ca_cert

    @property
    def peer_hosts(self) -> list[tuple[str, int]]:
        return parse_hosts(self.peers, DEFAULT_PEER_PORT)

    @property
    def reviews_tokens(self) -> bool:
        return bool(self.agent_namespace)

    @property
    def needs_kubernetes(self) -> bool:
        return (
            self.reviews_tokens
            or self.enable_lease_controller
            or self.probe_node_events
            or (self.uses_forward and self.forward_names.needs_kubernetes)
        )

    def problems(self) -> list[str]:
        return super().problems() + self.forward_problems() + self.conflicts()

    def conflicts(self) -> list[str]:
        """Return one error message for each combination of options that conflicts."""
        return option_rules.problems(self)

    def doubts(self) -> list[str]:
        found = super().doubts()
        if not 1 <= self.server_count <= MAX_SERVER_COUNT:
            taken = 1 if self.server_count < 1 else MAX_SERVER_COUNT
            found.append(f"--server-count={self.server_count}: agents take it for {taken}")
        if self.admin_port and not (self.admin_is_local or self.admin_token_file):
            where = f"--admin-bind-address={self.admin_bind_address}"
            found.append(f"{where}: everyone who reaches it can read what the server does; set --admin-token-file")
        if len(self.server_id) > MAX_SERVER_ID:
            found.append(f"--server-id has {len(self.server_id)} characters: agents refuse more than {MAX_SERVER_ID}")
        return found

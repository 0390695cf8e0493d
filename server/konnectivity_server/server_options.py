"""Options of `proxy-server`: the declarations, and values derived from them. `option_rules` checks combinations."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.net.addresses import is_loopback, parse_hosts
from konnectivity.runtime.options import (
    SWITCH,
    at_least,
    duration,
    existing_file,
    header_text,
    one_of,
    option,
    port,
    positive,
    size,
)
from konnectivity.runtime.shared_options import ProgramOptions
from konnectivity.tls.go_names import CIPHER_SUITES, TLS_VERSIONS
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT, MAX_SERVER_ID
from konnectivity_server import option_rules, strategies
from konnectivity_server.agents import credential_identity

DEFAULT_PEER_PORT = 8133
GRPC = "grpc"
HTTP_CONNECT = "http-connect"


def _modes(text: str) -> str | None:
    known = {GRPC, HTTP_CONNECT}
    names = text.split(",")
    return None if names and known.issuperset(names) else f"must be {GRPC}, {HTTP_CONNECT}, or both with a comma"


def _strategies(text: str) -> str | None:
    try:
        strategies.parse(text)
    except ValueError as error:
        return str(error)
    return None


def _cipher_suites(names: tuple[str, ...]) -> str | None:
    wrong = [name for name in names if name not in CIPHER_SUITES]
    return f"cipher suite {wrong[0]} not supported, doesn't exist or considered as insecure" if wrong else None


def _port_or_none(value: int) -> str | None:
    return None if value == 0 else port(1024, 49151)(value)


def _hosts(texts: tuple[str, ...]) -> str | None:
    try:
        parse_hosts(texts, DEFAULT_PEER_PORT)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class ServerOptions(ProgramOptions):
    """Options of `proxy-server`."""

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
        help="TCP port of the frontend (0 = no TCP frontend). With --uds-name, the port is served only if "
        "--server-cert is set.",
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
        8091, group="Agents", check=port(1024, 49151), help="TCP port that the server listens on for agents."
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
        0, check=_port_or_none, help="TCP port that this server listens on for peer servers (0 = no listener)."
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
        "every agent (empty = no peer servers).",
    )
    proxy_strategies: str = option(
        "default",
        group="Dialling",
        check=_strategies,
        metavar="names",
        help="Comma-separated strategies that choose an agent for a dial, in order of preference: default, destHost, "
        "defaultRoute.",
    )
    backend_dial_timeout: float = option(
        duration("10s"),
        check=at_least(0),
        help="Maximum time from a dial request to the agent's answer (0 = unlimited).",
    )
    graceful_shutdown_timeout: float = option(
        duration("25s"),
        check=at_least(0),
        help="Maximum time that open connections may continue after the first SIGTERM (0 = connections are closed at "
        "once).",
    )
    audit_log: str = option(
        "",
        group="Audit",
        metavar="file",
        help="File that receives one JSON line per dial and one per end of a connection: client, destination, agent "
        "and result; - writes to standard output (empty = no audit log).",
    )
    kubeconfig: str = option(
        "",
        group="Kubernetes API",
        check=existing_file,
        metavar="file",
        help="Kubeconfig file for token reviews and leases (empty = the pod's service account, else $KUBECONFIG or "
        "~/.kube/config).",
    )
    kubeconfig_qps: float = option(
        0.0, help="Average number of requests per second to the Kubernetes API (0 = 5, negative = unlimited)."
    )
    kubeconfig_burst: int = option(
        0, check=at_least(0), help="Maximum number of requests to the Kubernetes API in one burst (0 = 10)."
    )
    kube_api_content_type: str = option(
        "application/vnd.kubernetes.protobuf",
        metavar="type",
        instead="requests to the Kubernetes API are written in JSON",
    )
    enable_lease_controller: bool = option(
        False, help="Publish a Lease object for this server, and delete expired Leases of other servers."
    )
    lease_namespace: str = option("kube-system", metavar="namespace", help="Namespace of the servers' Lease objects.")
    lease_label: str = option(
        "k8s-app=konnectivity-server",
        metavar="labels",
        help="Comma-separated labels, key=value each, of the servers' Lease objects.",
    )
    cipher_suites: tuple[str, ...] = option(
        (),
        group="TLS",
        check=_cipher_suites,
        metavar="names",
        help="Comma-separated TLS 1.2 cipher suites of the TCP frontend and the agent listener, by Go's names "
        "(empty = OpenSSL's default).",
    )
    tls_min_version: str = option(
        "",
        check=one_of("", *TLS_VERSIONS),
        metavar="version",
        help=f"Lowest TLS version of the listeners: {', '.join(TLS_VERSIONS)} (empty = VersionTLS12).",
    )
    health_bind_address: str = option(
        "",
        group="Health, metrics, profiles",
        metavar="address",
        help="IP address that the health port listens on (empty = all addresses).",
    )
    health_port: int = option(
        8092, check=port(1024, 49151), help="TCP port that serves /healthz, /readyz and /metrics."
    )
    admin_bind_address: str = option(
        "127.0.0.1", metavar="address", help="IP address that the admin port listens on (empty = all addresses)."
    )
    admin_port: int = option(
        8095,
        check=port(1024, 49151),
        help="TCP port that serves /metrics, /api/v1, the web page and, with --enable-profiling, /debug/pprof.",
    )
    enable_dashboard: bool | None = option(
        None,
        kind=SWITCH,
        help="Serve a web page about the running server at / of the admin port (true, false, or auto = only if "
        "--admin-bind-address is a loopback address).",
    )
    max_connections_per_source: int = option(
        0,
        group="Limits (docs/secure/limits.md)",
        check=at_least(0),
        help="Maximum number of concurrent TCP connections per source address and listener; agents behind one load "
        "balancer share an address (0 = unlimited).",
    )
    handshake_timeout: float = option(
        duration("10s"),
        check=positive,
        help="Maximum time of a TLS handshake, and again of the HTTP/2 preface that follows.",
    )
    idle_connection_timeout: float = option(
        duration("5m"),
        check=at_least(0),
        help="Time after which an HTTP/2 connection without any call is closed (0 = never).",
    )
    connect_head_timeout: float = option(
        duration("1m"),
        check=positive,
        help="Maximum time from a frontend connection's start to the end of its first request head.",
    )
    max_connect_head: int = option(
        size("1Mi"), check=positive, help="Maximum size of the head of an HTTP CONNECT request, in bytes."
    )
    max_address_length: int = option(
        1024, check=positive, help="Maximum number of characters in the address of a dial's destination."
    )
    max_pending_dials_per_agent: int = option(
        10_000,
        check=positive,
        help="Maximum number of pending dials per agent; a further dial goes to another agent, or waits.",
    )
    max_pending_dials_per_frontend: int = option(
        65_536,
        check=positive,
        help="Maximum number of pending dials per frontend client, told apart by certificate name and source address; "
        "all clients of the unix socket count as one.",
    )
    max_control_frame_rate: int = option(
        5_000,
        check=positive,
        help="Maximum number of HTTP/2 frames per second without data (PING, SETTINGS, RST_STREAM ...) on one "
        "connection, with bursts of twice that number. Above the limit an agent's connection is closed, and a "
        "frontend's is read more slowly.",
    )
    max_new_stream_rate: int = option(
        1_000,
        check=positive,
        help="Maximum number of new HTTP/2 streams per second, and in one burst, on one connection of an agent or a "
        "peer server.",
    )
    max_header_list: int = option(
        size("32Ki"), check=positive, help="Maximum size of the headers of one HTTP/2 request, in bytes."
    )
    max_unsent: int = option(
        size("8Mi"),
        check=positive,
        help="Maximum number of bytes that wait for a peer to read, per HTTP/2 connection of an agent (above the limit "
        "the connection is closed) or per stream of a frontend (above the limit the stream is reset).",
    )
    max_unsent_total: int = option(
        size("256Mi"),
        check=positive,
        help="Maximum number of bytes that wait for peers to read, on all HTTP/2 connections together. Above the limit "
        "the agent connection with the most unsent bytes is closed, or the frontend streams with the most are reset.",
    )
    max_incomplete_messages: int = option(
        size("8Mi"),
        check=positive,
        help="Maximum number of bytes of incomplete gRPC messages, per HTTP/2 connection of an agent or a peer server.",
    )
    message_buffer_budget: int = option(
        size("64Mi"),
        check=positive,
        help="Maximum number of bytes of incomplete gRPC messages larger than 64 KiB, of all frontends together; above "
        "the limit a stream waits for its window until another stream's message is complete.",
    )
    workers: int = option(
        1,
        group="Program",
        check=positive,
        help="Number of processes that share the ports and the unix socket, at most one per core; to agents each is a "
        "server.",
    )
    xfr_channel_size: int = option(
        10, check=positive, instead="--connection-window and --connection-buffer-budget bound each connection in bytes"
    )
    warn_on_channel_limit: bool = option(True, hidden=True, deprecated="stalls are counted in the metrics")

    @property
    def modes(self) -> list[str]:
        return self.mode.split(",")

    @property
    def tcp_frontend(self) -> bool:
        return self.server_port != 0 and (not self.uds_name or bool(self.server_cert))

    @property
    def dashboard(self) -> bool:
        """Whether the web page is served."""
        return self.admin_is_local if self.enable_dashboard is None else self.enable_dashboard

    @property
    def admin_is_local(self) -> bool:
        """Whether only programs of this machine reach the admin port."""
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
        return self.reviews_tokens or self.enable_lease_controller

    def problems(self) -> list[str]:
        return super().problems() + option_rules.problems(self)

    def doubts(self) -> list[str]:
        found = super().doubts()
        if not 1 <= self.server_count <= MAX_SERVER_COUNT:
            taken = 1 if self.server_count < 1 else MAX_SERVER_COUNT
            found.append(f"--server-count={self.server_count}: agents take it for {taken}")
        if len(self.server_id) > MAX_SERVER_ID:
            found.append(f"--server-id has {len(self.server_id)} characters: agents refuse more than {MAX_SERVER_ID}")
        return found

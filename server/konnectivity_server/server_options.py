"""Options of `proxy-server`: the declarations, and what follows from them. How they go together: `consistency`."""

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
    """Everything `proxy-server` can be told."""

    mode: str = option(
        GRPC,
        group="Frontend (kube-apiserver)",
        check=_modes,
        help="What the frontend speaks: grpc, http-connect, or both on the same socket (grpc,http-connect).",
    )
    uds_name: str = option("", metavar="path", help="Unix socket of the frontend. Empty: none.")
    delete_existing_uds_file: bool = option(True, help="Replace a unix socket at --uds-name that no live server uses.")
    server_port: int = option(
        8090,
        check=_port_or_none,
        help="TCP port of the frontend. 0: none. With --uds-name, TCP is served too only if --server-cert is given.",
    )
    server_bind_address: str = option("", metavar="address", help="Address of the TCP frontend. Empty: all.")
    server_cert: str = option("", check=existing_file, metavar="file", help="Certificate of the TCP frontend.")
    server_key: str = option("", check=existing_file, metavar="file", help="Private key of the TCP frontend.")
    server_ca_cert: str = option(
        "", check=existing_file, metavar="file", help="CA that the certificates of TCP frontend clients must come from."
    )
    frontend_keepalive_time: float = option(
        duration("1h"), check=positive, help="Ping a gRPC frontend that was silent for this long."
    )
    agent_port: int = option(8091, group="Agents", check=port(1024, 49151), help="TCP port that agents connect to.")
    agent_bind_address: str = option("", metavar="address", help="Address of the agent listener. Empty: all.")
    cluster_cert: str = option("", check=existing_file, metavar="file", help="Certificate of the agent listener.")
    cluster_key: str = option("", check=existing_file, metavar="file", help="Private key of the agent listener.")
    cluster_ca_cert: str = option(
        "", check=existing_file, metavar="file", help="CA that agents' client certificates must come from."
    )
    agent_namespace: str = option(
        "",
        metavar="namespace",
        help="Namespace of the agents' service account. With the two below: agents must show a token, which the "
        "Kubernetes API reviews. With --cluster-ca-cert as well, they need both.",
    )
    agent_service_account: str = option("", metavar="name", help="Name of the agents' service account.")
    authentication_audience: str = option("", metavar="audience", help="Audience of the agents' tokens.")
    insecure_allow_unauthenticated_agents: bool = option(
        False,
        help="Let anyone who can reach --agent-port register as an agent and receive the traffic. Never in production.",
    )
    agent_identity: str = option(
        credential_identity.NONE,
        check=one_of(*credential_identity.MODES),
        metavar="credential",
        help="What must vouch for the addresses that an agent claims (its --agent-identifiers): none; certificate-san, "
        "the names in its certificate; token, the pod and the node of its token.",
    )
    keepalive_time: float = option(duration("1h"), check=positive, help="Ping an agent that was silent for this long.")
    server_id: str = option(
        "",
        env="PROXY_SERVER_ID",
        check=header_text,
        metavar="id",
        help="Unique name of this server, told to agents. Empty: a random one.",
    )
    server_count: int = option(1, help="How many servers there are, told to agents.")
    peers: tuple[str, ...] = option(
        (),
        group="Other servers",
        check=_hosts,
        metavar="hosts",
        help="host or host:port (port 8133 if none is given) of the other servers' --peer-port, with commas. A name "
        "may have the addresses of all of them. A dial that no agent of this server fits goes through theirs.",
    )
    peer_port: int = option(0, check=_port_or_none, help="TCP port that other servers connect to. 0: none.")
    peer_bind_address: str = option("", metavar="address", help="Address of the peer listener. Empty: all.")
    peer_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Certificate shown to other servers, as server and as client; names what their --peers say.",
    )
    peer_key: str = option("", check=existing_file, metavar="file", help="Its private key.")
    peer_ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA that other servers' certificates must come from. Whoever has one can dial through every agent.",
    )
    proxy_strategies: str = option(
        "default",
        group="Dialling",
        check=_strategies,
        metavar="names",
        help="How to choose an agent, in order: any of default, destHost, defaultRoute, with commas.",
    )
    backend_dial_timeout: float = option(
        duration("10s"),
        check=at_least(0),
        help="How long a dial through an agent may take. 0: as long as the agent takes.",
    )
    graceful_shutdown_timeout: float = option(
        duration("25s"),
        check=at_least(0),
        help="After the first SIGTERM: how long connections may go on before the rest is cut. 0: they end at once.",
    )
    audit_log: str = option(
        "",
        group="Audit",
        metavar="file",
        help="Write a JSON line to this file for each dial and each end of a connection: who, where to, through which "
        "agent, what became of it. -: standard output. Empty: none.",
    )
    kubeconfig: str = option(
        "",
        group="Kubernetes API",
        check=existing_file,
        metavar="file",
        help="For token reviews and leases. Empty: the pod's service account, else the usual places.",
    )
    kubeconfig_qps: float = option(0.0, help="Requests per second to the API, on average. 0: 5; less than 0: no limit.")
    kubeconfig_burst: int = option(0, check=at_least(0), help="Requests to the API in one go. 0: 10.")
    kube_api_content_type: str = option(
        "application/vnd.kubernetes.protobuf", metavar="type", instead="the API is spoken to in JSON"
    )
    enable_lease_controller: bool = option(
        False, help="Publish a Lease for this server, and remove those of servers that are gone."
    )
    lease_namespace: str = option("kube-system", metavar="namespace", help="Namespace of the leases.")
    lease_label: str = option(
        "k8s-app=konnectivity-server", metavar="labels", help="Labels of the leases: key=value, with commas."
    )
    cipher_suites: tuple[str, ...] = option(
        (),
        group="TLS",
        check=_cipher_suites,
        metavar="names",
        help="TLS 1.2 cipher suites of both listeners, by Go's names.",
    )
    tls_min_version: str = option(
        "",
        check=one_of("", *TLS_VERSIONS),
        metavar="version",
        help="Lowest TLS version, as in VersionTLS12 (the default).",
    )
    heartbeat_interval: float = option(
        duration("10s"),
        check=at_least(0),
        help="Ping an agent that was silent for this long; without an answer no new dials go to it, and after 20s its "
        "tunnel is given up. 0: off.",
    )
    health_bind_address: str = option(
        "",
        group="Health, metrics, profiles",
        metavar="address",
        help="Address of the health port. Empty: all.",
    )
    health_port: int = option(8092, check=port(1024, 49151), help="Port of /healthz, /readyz and /metrics.")
    admin_bind_address: str = option("127.0.0.1", metavar="address", help="Address of the admin port. Empty: all.")
    admin_port: int = option(
        8095, check=port(1024, 49151), help="Port of /metrics, /api/v1 and, if enabled, the web page and /debug/pprof."
    )
    enable_dashboard: bool | None = option(
        None,
        kind=SWITCH,
        help="Serve a web page about the running server at / of the admin port. auto: if --admin-bind-address is a "
        "loopback address.",
    )
    workers: int = option(
        1,
        group="Program",
        check=positive,
        help="Processes that share the ports and the socket, one for each core; to agents they are so many servers.",
    )
    xfr_channel_size: int = option(
        10, check=positive, instead="--connection-window and --connection-buffer-budget bound each connection in bytes"
    )
    warn_on_channel_limit: bool = option(True, hidden=True, deprecated="stalls are counted in the metrics")
    max_connections_per_source: int = option(
        0,
        group="Limits (docs/secure/limits.md)",
        check=at_least(0),
        help="TCP connections of one source address at a time, on each listener. 0: any number, as agents behind one "
        "load balancer have one address.",
    )
    handshake_timeout: float = option(
        duration("10s"), check=positive, help="How long TLS may take, and after it the beginning of HTTP/2."
    )
    idle_connection_timeout: float = option(
        duration("5m"),
        check=at_least(0),
        help="Close an HTTP/2 connection without any call after this time. 0: never.",
    )
    connect_head_timeout: float = option(
        duration("1m"), check=positive, help="How long a client of the frontend may take to say what it wants."
    )
    max_connect_head: int = option(size("1Mi"), check=positive, help="Bytes of an HTTP CONNECT request.")
    max_address_length: int = option(1024, check=positive, help="Characters of a destination.")
    max_pending_dials_per_agent: int = option(
        10_000,
        check=positive,
        help="Dials that one agent is asked for at one time; over it other agents are asked, or the dial waits.",
    )
    max_pending_dials_per_frontend: int = option(
        65_536,
        check=positive,
        help="Dials of one frontend that are not answered, by the name in its certificate and its address; all clients "
        "of the unix socket are one.",
    )
    max_control_frame_rate: int = option(
        5_000,
        check=positive,
        help="HTTP/2 frames a second that move no data (pings, settings, resets ...) on one connection, after a burst "
        "of twice as many. Over it an agent's connection is closed, and a frontend's is read more slowly.",
    )
    max_new_stream_rate: int = option(
        1_000,
        check=positive,
        help="HTTP/2 streams opened a second on one connection of an agent or a peer server, and at once.",
    )
    max_header_list: int = option(size("32Ki"), check=positive, help="Bytes of the headers of one HTTP/2 request.")
    max_unsent: int = option(
        size("8Mi"),
        check=positive,
        help="Bytes that may wait for a peer that does not read: on one HTTP/2 connection of an agent, before it is "
        "cut; on one stream of a frontend, before that stream is reset.",
    )
    max_unsent_total: int = option(
        size("256Mi"),
        check=positive,
        help="The same on all HTTP/2 connections together; over it the connection with the most is cut, or, if it is a "
        "frontend's, the streams on it with the most are reset.",
    )
    max_incomplete_messages: int = option(
        size("8Mi"),
        check=positive,
        help="Bytes of gRPC messages that are not whole yet, on one HTTP/2 connection of an agent or a peer server.",
    )
    message_buffer_budget: int = option(
        size("64Mi"),
        check=positive,
        help="Bytes of the gRPC messages above 64 KiB that all frontends together may be sending at one time; over it "
        "a stream gets no window until another's message is whole.",
    )

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
        """Whether only programs of this machine (and what they forward) reach the admin port."""
        return is_loopback(self.admin_bind_address)

    @property
    def uses_peers(self) -> bool:
        return bool(self.peers or self.peer_port)

    @property
    def agent_files(self) -> tuple[str, str, str]:
        """Certificate, key, CA of the agents' listener."""
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

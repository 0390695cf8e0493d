"""Options of `proxy-server` for its work behind the listeners: dials, audit log, tracing, Kubernetes API, limits."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.runtime.options import (
    SWITCH,
    at_least,
    duration,
    existing_file,
    one_of,
    option,
    port,
    positive,
    size,
)
from konnectivity.tls.go_names import CIPHER_SUITES, TLS_VERSIONS
from konnectivity_server import strategies
from konnectivity_server.frontends.server_forward_options import ServerForwardOptions


def _collector(url: str) -> str | None:
    from urllib.parse import urlsplit

    if not url:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        valid = False
    return None if valid and " " not in url else "must be a URL such as http://collector:4318"


def _ratio(value: float) -> str | None:
    return None if 0 <= value <= 1 else "must be between 0 and 1"


def _strategies(text: str) -> str | None:
    try:
        strategies.parse(text)
    except ValueError as error:
        return str(error)
    return None


def _networks(texts: tuple[str, ...]) -> str | None:
    if not texts:
        return None
    from konnectivity.net.proxied_sources import parse_networks

    try:
        parse_networks(texts)
    except ValueError as error:
        return str(error)
    return None


def _cipher_suites(names: tuple[str, ...]) -> str | None:
    wrong = [name for name in names if name not in CIPHER_SUITES]
    return f"cipher suite {wrong[0]} not supported, doesn't exist or considered as insecure" if wrong else None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ServerServiceOptions(ServerForwardOptions):
    """Options for dials, the audit log, tracing, the Kubernetes API, TLS, ports of the operator, and limits."""

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
    frontend_policy: str = option(
        "",
        group="Frontend policy",
        check=existing_file,
        metavar="file",
        help="YAML file with rules on which frontend may dial what, by the names of its certificate or the user of its "
        "process, its password or its token; read again when it changes (empty = every frontend may dial everything).",
    )
    audit_log: str = option(
        "",
        group="Audit",
        metavar="file",
        help="File that receives one JSON line per dial and one per end of a connection: client, destination, agent "
        "and result; - writes to standard output (empty = no audit log).",
    )
    tracing_endpoint: str = option(
        "",
        group="Tracing",
        check=_collector,
        metavar="url",
        help="URL of an OpenTelemetry collector that receives spans of dials by OTLP over HTTP, for example "
        "http://collector:4318; needs the extra konnectivity[opentelemetry] (empty = no tracing).",
    )
    tracing_sample_ratio: float = option(
        1.0,
        check=_ratio,
        help="Ratio of sampled dials, which have spans, to all dials, from 0 to 1; a client that sends traceparent "
        "decides for its own dials (0 = only such dials).",
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
    admin_token_file: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="File with one token per line, of at least 16 characters each: without a token the admin port answers "
        "nothing but the files of the web page; read again when it changes (empty = no token is needed).",
    )
    proxy_protocol: str = option(
        "off",
        group="Load balancer (docs/operate/availability.md)",
        check=one_of("off", "optional", "required"),
        help="PROXY protocol (version 1 or 2), by which a load balancer states the client, on the agent listener and "
        "the TCP frontend: off = no header is read; optional = a header is read from --proxy-protocol-trusted if there "
        "is one; required = connections from elsewhere, or without a header, are refused.",
    )
    proxy_protocol_trusted: tuple[str, ...] = option(
        (),
        check=_networks,
        metavar="networks",
        help="Comma-separated networks of the load balancers, for example 10.0.0.0/24, whose PROXY protocol headers "
        "are believed; needed unless --proxy-protocol=off (empty = none).",
    )
    max_connections_per_source: int = option(
        0,
        group="Limits (docs/secure/limits.md)",
        check=at_least(0),
        help="Maximum number of concurrent TCP connections per source address and listener; agents behind one load "
        "balancer share an address, unless --proxy-protocol states theirs (0 = unlimited).",
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

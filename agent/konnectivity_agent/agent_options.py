"""Options of `proxy-agent`: the declarations, values derived from them, and the checks of combinations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_plus

from konnectivity.http1 import forward_proxy
from konnectivity.net import destination_policy
from konnectivity.net.addresses import parse_hosts
from konnectivity.runtime.options import (
    at_least,
    duration,
    existing_file,
    header_text,
    one_of,
    option,
    port,
    positive,
)
from konnectivity.runtime.process_options import drain_timeout
from konnectivity.runtime.shared_options import ProgramOptions
from konnectivity.untrusted.agent_id import problem_of

DEFAULT_PORT = 8091
_KINDS = ("ipv4", "ipv6", "host", "cidr", "default-route")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2}).{0,2}")


def _identifiers(text: str) -> str | None:
    if problem := header_text(text):
        return f"agent address is invalid: {problem}"
    for pair in filter(None, text.split("&")):
        if ";" in pair:
            return "agent address is invalid: invalid semicolon separator in query"
        if bad := _BAD_ESCAPE.search(pair):
            return f'agent address is invalid: invalid URL escape "{bad[0]}"; write %25 for a percent sign'
        kind = unquote_plus(pair.partition("=")[0])
        if kind not in _KINDS:
            return f"agent address is invalid: unknown address type: {kind} (known: {', '.join(_KINDS)})"
    return None


def identifiers_that_fit_nothing(text: str) -> list[tuple[str, str]]:
    """Return kind and value of each identifier that no destination can match, except values with a `$`."""
    pairs = [tuple(map(unquote_plus, pair.partition("=")[::2])) for pair in text.split("&") if pair]
    return [(kind, value) for kind, value in pairs if "$" not in value and not _fits(kind, value)]


def _fits(kind: str, value: str) -> bool:
    try:
        if kind in ("ipv4", "ipv6"):
            return ip_address(value).version == int(kind[-1])
        if kind == "cidr":
            ip_network(value, strict=False)
    except ValueError:
        return False
    return bool(value)


def _rules(texts: tuple[str, ...]) -> str | None:
    try:
        destination_policy.parse(texts, ())
    except ValueError as error:
        return str(error)
    return None


def _selector(text: str) -> str | None:
    from konnectivity.kube.labels import parse_selector

    try:
        parse_selector(text)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class AgentOptions(ProgramOptions):
    """Options of `proxy-agent`."""

    proxy_server_host: tuple[str, ...] = option(
        ("127.0.0.1",),
        group="Server",
        metavar="hosts",
        help="Comma-separated hosts of proxy servers, each with an optional port (host:port); may be repeated. All "
        "addresses of a name are used. A server's certificate must name the host.",
    )
    proxy_server_port: int = option(
        DEFAULT_PORT, check=port(), help="TCP port of hosts in --proxy-server-host that have none."
    )
    ca_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="CA certificate file that verifies servers (required).",
    )
    agent_cert: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Client certificate file shown to servers (empty = no client certificate).",
    )
    agent_key: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Private key file of --agent-cert (empty = no client certificate).",
    )
    alpn_proto: tuple[str, ...] = option(
        (), metavar="names", help="Comma-separated ALPN protocols offered to servers before h2 (empty = only h2)."
    )
    service_account_token_path: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="File with the token shown to servers, read for each new connection (empty = no token).",
    )
    keepalive_time: float = option(
        duration("1h"), check=positive, help="Time without traffic after which a server's connection is pinged."
    )
    heartbeat_interval: float = option(
        duration("10s"),
        check=at_least(0),
        help="Time without traffic after which a server is pinged; after 20s without an answer the agent connects "
        "again (0 = no heartbeat).",
    )
    sync_interval: float = option(
        duration("1s"),
        check=at_least(duration("10ms")),
        help="Shortest pause between two attempts to connect to a server; grows by half after each failure.",
    )
    sync_interval_cap: float = option(
        duration("10s"),
        help="Longest pause between two attempts to connect to a server, at least --sync-interval.",
    )
    sync_forever: bool = option(False, help="Keep looking for further servers after all known servers are connected.")
    probe_interval: float = option(
        duration("1s"), check=at_least(0), instead="the end of a connection is noticed at once"
    )
    agent_id: str = option(
        "",
        group="Identity",
        env="PROXY_AGENT_ID",
        check=header_text,
        metavar="id",
        help="Unique name of this agent (empty = random).",
    )
    agent_identifiers: str = option(
        "",
        check=_identifiers,
        metavar="query",
        help="Addresses that this agent serves, as a URL query of ipv4, ipv6, host, cidr and default-route, for "
        "example ipv4=10.0.0.1&host=node-1&default-route=true (empty = none).",
    )
    allow_destination: tuple[str, ...] = option(
        (),
        group="Destinations",
        check=_rules,
        metavar="rules",
        help="Comma-separated destinations that may be dialled; may be repeated. A rule is an address, a network "
        "(10.0.0.0/8), a name, *.name or *, with an optional port or port range (10.0.0.0/8:10250, "
        "[fd00::/8]:30000-32767). The address of a cloud metadata service is allowed only by a rule for exactly that "
        "address (empty = all other destinations).",
    )
    deny_destination: tuple[str, ...] = option(
        (),
        check=_rules,
        metavar="rules",
        help="Comma-separated destinations that may not be dialled, in the form of --allow-destination and with "
        "precedence over --allow-destination; may be repeated (empty = none).",
    )
    count_server_leases: bool = option(
        False,
        group="Kubernetes API",
        help="Count valid Lease objects of servers, and connect to that number of servers.",
    )
    server_count_source: str = option(
        "default",
        check=one_of("default", "max", ""),
        metavar="source",
        help="Number of servers to connect to with --count-server-leases: default = the number of Lease objects; max = "
        "the larger of that number and the number that servers announce.",
    )
    lease_namespace: str = option("kube-system", metavar="namespace", help="Namespace of the servers' Lease objects.")
    lease_label_selector: str = option(
        "k8s-app=konnectivity-server",
        deprecated_aliases=("lease-label",),
        check=_selector,
        metavar="selector",
        help="Label selector of the servers' Lease objects (empty = all Lease objects of the namespace).",
    )
    kubeconfig: str = option(
        "",
        check=existing_file,
        metavar="file",
        help="Kubeconfig file for reading Lease objects (empty = the pod's service account, else $KUBECONFIG or "
        "~/.kube/config).",
    )
    kube_api_content_type: str = option(
        "application/vnd.kubernetes.protobuf",
        metavar="type",
        instead="requests to the Kubernetes API are written in JSON",
    )
    health_server_host: str = option(
        "",
        group="Health, metrics, profiles",
        metavar="address",
        help="IP address that the health port listens on (empty = all addresses).",
    )
    health_server_port: int = option(8093, check=port(), help="TCP port that serves /healthz, /readyz and /metrics.")
    admin_bind_address: str = option(
        "127.0.0.1", metavar="address", help="IP address that the admin port listens on (empty = all addresses)."
    )
    admin_server_port: int = option(
        8094, check=port(), help="TCP port that serves /debug/pprof, with --enable-profiling."
    )
    drain_timeout: float = drain_timeout()
    xfr_channel_size: int = option(
        150, check=positive, instead="--connection-window and --connection-buffer-budget bound each connection in bytes"
    )
    warn_on_channel_limit: bool = option(False, instead="stalls are counted in the metrics")

    @property
    def servers(self) -> list[tuple[str, int]]:
        return parse_hosts(self.proxy_server_host, self.proxy_server_port)

    def proxies(self, environment: Mapping[str, str]) -> dict[tuple[str, int], forward_proxy.Proxy]:
        """Return the forward proxy of each server that is reached through one.

        Raises:
            ValueError: the value of an environment variable is no proxy.

        """
        chosen = {server: forward_proxy.choose(environment, *server) for server in self.servers}
        return {server: proxy for server, proxy in chosen.items() if proxy is not None}

    def policy(self) -> destination_policy.Policy:
        return destination_policy.parse(self.allow_destination, self.deny_destination)

    def doubts(self) -> list[str]:
        pairs = identifiers_that_fit_nothing(self.agent_identifiers)
        found = [f"--agent-identifiers: {kind}={value}: no destination will ever match it" for kind, value in pairs]
        return super().doubts() + found

    def problems(self) -> list[str]:
        found = super().problems()
        if bool(self.agent_cert) != bool(self.agent_key):
            found.append("--agent-cert and --agent-key go together")
        if not self.ca_cert:
            found.append("--ca-cert is needed: the CA that issued the server's certificate")
        try:
            parse_hosts(self.proxy_server_host, DEFAULT_PORT)
        except ValueError as error:
            found.append(f"--proxy-server-host: {error}")
        if not self.proxy_server_host:
            found.append("--proxy-server-host is needed: where the proxy server listens for agents")
        if problem := problem_of(self.agent_id):
            found.append(f"--agent-id: {problem}")
        if self.sync_interval > self.sync_interval_cap:
            found.append("--sync-interval is longer than --sync-interval-cap")
        return found

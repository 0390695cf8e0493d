"""Rules on combinations of `proxy-server` options: what an option needs, and what it excludes. Pure.

Each rule is one function that yields one error message for each conflict. Does not know how options are declared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

from konnectivity.grpc.implementations import implementation
from konnectivity.net import addresses
from konnectivity_server.agents import credential_identity


class RuledOptions(Protocol):
    """Options that a rule reads, of `ServerOptions`."""

    @property
    def server_cert(self) -> str: ...
    @property
    def server_key(self) -> str: ...
    @property
    def server_ca_cert(self) -> str: ...
    @property
    def cluster_cert(self) -> str: ...
    @property
    def cluster_key(self) -> str: ...
    @property
    def cluster_ca_cert(self) -> str: ...
    @property
    def agent_namespace(self) -> str: ...
    @property
    def agent_service_account(self) -> str: ...
    @property
    def authentication_audience(self) -> str: ...
    @property
    def agent_identity(self) -> str: ...
    @property
    def frontend_policy(self) -> str: ...
    @property
    def uds_name(self) -> str: ...
    @property
    def grpc_implementation(self) -> str: ...
    @property
    def lease_label(self) -> str: ...
    @property
    def tcp_frontend(self) -> bool: ...
    @property
    def insecure_allow_unauthenticated_agents(self) -> bool: ...
    @property
    def reviews_tokens(self) -> bool: ...
    @property
    def uses_peers(self) -> bool: ...
    @property
    def enable_lease_controller(self) -> bool: ...
    @property
    def server_port(self) -> int: ...
    @property
    def tenants(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def probe(self) -> tuple[str, ...]: ...
    @property
    def probe_cert(self) -> str: ...
    @property
    def probe_key(self) -> str: ...
    @property
    def probe_node_events(self) -> bool: ...
    @property
    def ready_when(self) -> str: ...
    @property
    def proxy_protocol(self) -> str: ...
    @property
    def proxy_protocol_trusted(self) -> tuple[str, ...]: ...
    @property
    def forward_uds_name(self) -> str: ...
    @property
    def modes(self) -> list[str]: ...
    @property
    def peer_hosts(self) -> list[tuple[str, int]]: ...
    @property
    def ports(self) -> dict[tuple[str, int], list[str]]: ...

    def given(self, name: str) -> bool: ...


def problems(options: RuledOptions) -> list[str]:
    """Return one error message for each combination of options that conflicts."""
    rules = _RULES_WITH_TENANTS if options.tenants else _RULES
    return [problem for rule in rules for problem in rule(options)]


def problems_of_tenant(options: RuledOptions) -> list[str]:
    """Return one error message for each combination of a tenant's options that conflicts."""
    return [problem for rule in RULES_OF_TENANT for problem in rule(options)]


def _missing(options: RuledOptions, *fields: str) -> list[str]:
    """Return the flags of those fields that have no value."""
    return [f"--{field.replace('_', '-')}" for field in fields if not getattr(options, field)]


def _pairs(options: RuledOptions) -> Iterator[str]:
    for fields in (("server_cert", "server_key"), ("cluster_cert", "cluster_key")):
        missing = _missing(options, *fields)
        if len(missing) == 1:
            present = next(field for field in fields if getattr(options, field))
            yield f"--{present.replace('_', '-')} needs {missing[0]}"
    if not options.cluster_cert:
        yield "--cluster-cert and --cluster-key are needed: the agent listener always speaks TLS"


def _frontends(options: RuledOptions) -> Iterator[str]:
    if not options.uds_name and not options.tcp_frontend:
        yield "no frontend: set --uds-name, or --server-port with --server-cert, --server-key, --server-ca-cert"
    yield from _tcp_frontend(options)
    if options.uds_name and options.given("server_port") and options.server_port and not options.server_cert:
        yield "--server-port is 0 with --uds-name, unless a TCP frontend with --server-cert is wanted as well"


def _tcp_frontend(options: RuledOptions) -> Iterator[str]:
    if options.tcp_frontend:
        needed = ("server_ca_cert",) if options.server_cert else ("server_cert", "server_key", "server_ca_cert")
        yield from (f"{flag} is needed for the TCP frontend" for flag in _missing(options, *needed))


def _frontends_of_tenant(options: RuledOptions) -> Iterator[str]:
    if not options.uds_name and not options.tcp_frontend:
        yield "no frontend: set --server-ca-cert, or --uds-name"
    yield from _tcp_frontend(options)


_NO_CREDENTIAL = (
    "agents are not authenticated: set --cluster-ca-cert, or --agent-namespace, --agent-service-account and "
    "--authentication-audience"
)


def _authentication(options: RuledOptions) -> Iterator[str]:
    yield from _whole_token_authentication(options)
    if not options.insecure_allow_unauthenticated_agents and _takes_anyone(options):
        yield (
            f"{_NO_CREDENTIAL} (or, knowing that anyone who reaches --agent-port can then receive the cluster's "
            "traffic, --insecure-allow-unauthenticated-agents)"
        )


def _authentication_of_tenant(options: RuledOptions) -> Iterator[str]:
    yield from _whole_token_authentication(options)
    if _takes_anyone(options):
        yield _NO_CREDENTIAL


def _whole_token_authentication(options: RuledOptions) -> Iterator[str]:
    missing = _missing(options, *_TOKEN_FIELDS)
    if 0 < len(missing) < len(_TOKEN_FIELDS):
        yield f"token authentication of agents needs {' and '.join(missing)}, too"


def _takes_anyone(options: RuledOptions) -> bool:
    return not options.cluster_ca_cert and len(_missing(options, *_TOKEN_FIELDS)) == len(_TOKEN_FIELDS)


_TOKEN_FIELDS = ("agent_namespace", "agent_service_account", "authentication_audience")


def _identity(options: RuledOptions) -> Iterator[str]:
    if options.agent_identity == credential_identity.CERTIFICATE:
        if not options.cluster_ca_cert:
            yield "--agent-identity=certificate-san needs --cluster-ca-cert"
        if not implementation(options.grpc_implementation).reads_certificates:
            yield "--agent-identity=certificate-san needs --grpc-implementation=native"
    if options.agent_identity == credential_identity.TOKEN and not options.reviews_tokens:
        yield "--agent-identity=token needs --agent-namespace, --agent-service-account and --authentication-audience"


def _peers(options: RuledOptions) -> Iterator[str]:
    if options.uses_peers:
        missing = _missing(options, "peer_cert", "peer_key", "peer_ca_cert")
        yield from (f"{flag} is needed for --peers and --peer-port" for flag in missing)


def _peer_names(options: RuledOptions) -> Iterator[str]:
    """Yield why peer servers cannot share a port with tenants, where the TLS server name leads to them."""
    for (_, port), roles in options.ports.items():
        if "peers" not in roles or len(roles) == 1:
            continue
        shared = f"--peer-port={port} is the port of {' and '.join(role for role in roles if role != 'peers')}"
        otherwise = "or give --peer-port a port of its own"
        if not options.peer_hosts:
            yield (
                f"{shared}, where TLS server names lead to the peer servers: list the DNS names of all servers, this "
                f"one included, in --peers, {otherwise}"
            )
        for host, _ in options.peer_hosts:
            if addresses.is_address(host):
                yield f"{shared}, and --peers has {host}, which is no TLS server name: use a DNS name, {otherwise}"
        if options.proxy_protocol == "required":
            yield _REQUIRED_OF_PEERS


def _leases(options: RuledOptions) -> Iterator[str]:
    if options.enable_lease_controller:
        from konnectivity.kube.labels import parse_labels

        try:
            parse_labels(options.lease_label)
        except ValueError as error:
            yield f"--lease-label: {error}"


def _transport(options: RuledOptions) -> Iterator[str]:
    if implementation(options.grpc_implementation).shares_sockets:
        return
    if len(options.modes) > 1:
        yield "--grpc-implementation=grpcio cannot share a socket: set --mode to grpc or http-connect"
    if options.workers > 1:
        yield "--workers needs --grpc-implementation=native"
    if options.frontend_policy:
        yield "--frontend-policy needs --grpc-implementation=native, which knows the credentials of frontends"


def _workers(options: RuledOptions) -> Iterator[str]:
    if options.workers > 1 and options.forward_uds_name:
        yield "--forward-uds-name needs --workers=1: workers share a TCP port, --forward-port"


def _probes(options: RuledOptions) -> Iterator[str]:
    if bool(options.probe_cert) != bool(options.probe_key):
        yield "--probe-cert and --probe-key need each other"
    if not options.probe:
        if options.ready_when == "path":
            yield "--ready-when=path needs --probe"
        if options.probe_node_events:
            yield "--probe-node-events needs --probe"


def _balancer(options: RuledOptions) -> Iterator[str]:
    if options.proxy_protocol == "off":
        return
    given = f"--proxy-protocol={options.proxy_protocol}"
    if not options.proxy_protocol_trusted:
        yield f"{given} needs --proxy-protocol-trusted: any client could state another's address"
    if not implementation(options.grpc_implementation).shares_sockets:
        yield f"{given} needs --grpc-implementation=native: grpcio accepts connections itself, and reads no header"


_REQUIRED_OF_PEERS = "--proxy-protocol=required: peer servers connect directly, so give --peer-port a port of its own"
_PREFIXES = {"agents": "cluster", "frontends": "server", "peers": "peer"}  # of the flags of a role's TLS files


def _shared_ports(options: RuledOptions) -> Iterator[str]:
    """Yield what forbids that the clients of several roles share a port."""
    for (_, port), roles in options.ports.items():
        if len(roles) == 1:
            continue
        them = " and ".join(roles)
        if not implementation(options.grpc_implementation).shares_sockets:
            yield f"{them} share port {port}, which needs --grpc-implementation=native"
        first, *others = (_PREFIXES[role] for role in roles)
        for other, field in itertools.product(others, ("cert", "key")):
            if getattr(options, f"{other}_{field}") != getattr(options, f"{first}_{field}"):
                yield (
                    f"{them} share port {port}, which shows one certificate: give --{other}-{field} the file of "
                    f"--{first}-{field}, or another port"
                )
        authorities = [path for role in roles if (path := getattr(options, f"{_PREFIXES[role]}_ca_cert"))]
        if len(set(authorities)) < len(authorities):
            yield f"{them} share port {port}, which tells them apart by their CA: give each its own, or another port"
        if "peers" in roles and options.proxy_protocol == "required":
            yield _REQUIRED_OF_PEERS


def _tenants(options: RuledOptions) -> Iterator[str]:
    """Yield what a server of many tenants cannot have: each of these belongs to the file of a tenant, or to none."""
    for field in _OF_TENANTS:
        if options.given(field) and getattr(options, field):
            yield f"--{field.replace('_', '-')} cannot be shared by --tenants: set it in the file of each tenant"
    for field in _OF_ONE:
        if options.given(field) and getattr(options, field):
            yield f"--{field.replace('_', '-')} is not possible with --tenants"
    if not implementation(options.grpc_implementation).reads_certificates:
        yield "--tenants needs --grpc-implementation=native"


_OF_TENANTS = ("cluster_ca_cert", "server_ca_cert", "uds_name", "kubeconfig", "frontend_policy", "probe")
_OF_ONE = (
    "insecure_allow_unauthenticated_agents",
    "enable_lease_controller",
    "forward_port",
    "forward_uds_name",
    "forward_dns_port",
)
_RULES_WITH_TENANTS = (_tenants, _peers, _peer_names, _leases, _balancer)
_RULES = (
    _pairs,
    _frontends,
    _authentication,
    _identity,
    _peers,
    _leases,
    _transport,
    _workers,
    _probes,
    _balancer,
    _shared_ports,
)
RULES_OF_TENANT = (_pairs, _frontends_of_tenant, _authentication_of_tenant, _identity, _leases, _probes)

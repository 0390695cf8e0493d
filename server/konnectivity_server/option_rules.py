"""Which options of `proxy-server` need each other, and which exclude each other: one rule, one function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from konnectivity_server.agents import credential_identity

if TYPE_CHECKING:
    from konnectivity_server.server_options import ServerOptions


def problems(options: ServerOptions) -> list[str]:
    """What does not go together, in the words for a person."""
    return [problem for rule in _RULES for problem in rule(options)]


def _missing(options: ServerOptions, *fields: str) -> list[str]:
    """Flags of these fields that have no value."""
    return [f"--{field.replace('_', '-')}" for field in fields if not getattr(options, field)]


def _pairs(options: ServerOptions) -> Iterator[str]:
    for fields in (("server_cert", "server_key"), ("cluster_cert", "cluster_key")):
        missing = _missing(options, *fields)
        if len(missing) == 1:
            present = next(field for field in fields if getattr(options, field))
            yield f"--{present.replace('_', '-')} needs {missing[0]}"
    if not options.cluster_cert:
        yield "--cluster-cert and --cluster-key are needed: the agent listener always speaks TLS"


def _frontends(options: ServerOptions) -> Iterator[str]:
    if not options.uds_name and not options.tcp_frontend:
        yield "no frontend: set --uds-name, or --server-port with --server-cert, --server-key, --server-ca-cert"
    if options.tcp_frontend:
        needed = ("server_ca_cert",) if options.server_cert else ("server_cert", "server_key", "server_ca_cert")
        yield from (f"{flag} is needed for the TCP frontend" for flag in _missing(options, *needed))
    if options.uds_name and options.given("server_port") and options.server_port and not options.server_cert:
        yield "--server-port is 0 with --uds-name, unless a TCP frontend with --server-cert is wanted as well"


def _authentication(options: ServerOptions) -> Iterator[str]:
    fields = ("agent_namespace", "agent_service_account", "authentication_audience")
    missing = _missing(options, *fields)
    if 0 < len(missing) < len(fields):
        yield f"token authentication of agents needs {' and '.join(missing)}, too"
    elif missing and not options.cluster_ca_cert and not options.insecure_allow_unauthenticated_agents:
        yield (
            "agents are not authenticated: set --cluster-ca-cert, or --agent-namespace, --agent-service-account "
            "and --authentication-audience (or, knowing that anyone who reaches --agent-port can then receive the "
            "cluster's traffic, --insecure-allow-unauthenticated-agents)"
        )


def _identity(options: ServerOptions) -> Iterator[str]:
    if options.agent_identity == credential_identity.CERTIFICATE:
        if not options.cluster_ca_cert:
            yield "--agent-identity=certificate-san needs --cluster-ca-cert"
        if options.grpc_implementation != "native":
            yield "--agent-identity=certificate-san needs --grpc-implementation=native"
    if options.agent_identity == credential_identity.TOKEN and not options.reviews_tokens:
        yield "--agent-identity=token needs --agent-namespace, --agent-service-account and --authentication-audience"


def _peers(options: ServerOptions) -> Iterator[str]:
    if options.uses_peers:
        missing = _missing(options, "peer_cert", "peer_key", "peer_ca_cert")
        yield from (f"{flag} is needed for --peers and --peer-port" for flag in missing)


def _leases(options: ServerOptions) -> Iterator[str]:
    if options.enable_lease_controller:
        from konnectivity.kube.labels import parse_labels

        try:
            parse_labels(options.lease_label)
        except ValueError as error:
            yield f"--lease-label: {error}"


def _transport(options: ServerOptions) -> Iterator[str]:
    if options.grpc_implementation == "grpcio" and len(options.modes) > 1:
        yield "--grpc-implementation=grpcio cannot share a socket: set --mode to grpc or http-connect"
    if options.workers > 1 and options.grpc_implementation == "grpcio":
        yield "--workers needs --grpc-implementation=native"


_RULES = (_pairs, _frontends, _authentication, _identity, _peers, _leases, _transport)

"""Advice on proxy-server's options: their effect in a few lines, and the mistakes that people make with them. Pure."""

from __future__ import annotations

from konnectivity.runtime.options import format_duration
from konnectivity.tool.check_results import CheckResult, failed, warning
from konnectivity.tool.shared_advice import ListenPort, grace, profiles, shared, silence
from konnectivity_server.server_options import GRPC, HTTP_CONNECT, ServerOptions, port_address

_OLD_TLS = ("VersionTLS10", "VersionTLS11")


def amounts_to(options: ServerOptions) -> dict[str, str]:
    """Return the effect of the options, in a few lines."""
    facts = {"frontend": "; ".join(_frontends(options)) or "none"}
    facts["egress configuration"] = _egress(options)
    facts["agents connect to"] = (
        f"{options.agent_bind_address or '*'}:{options.agent_port} (TLS, {options.cluster_cert})"
    )
    facts["agents must show"] = _credentials(options)
    facts["agents are told"] = f"{_servers(options)}, unless leases or peers say more"
    facts["an agent is chosen by"] = options.proxy_strategies.replace(",", ", then ")
    limit = options.backend_dial_timeout
    facts["a dial may take"] = format_duration(limit) if limit else "as long as the agent takes"
    facts["after SIGTERM"] = f"connections may go on for {format_duration(options.graceful_shutdown_timeout)}"
    facts["health, metrics"] = f"{options.health_bind_address or '*'}:{options.health_port}"
    facts["admin"] = f"{options.admin_bind_address or '*'}:{options.admin_port}"
    if options.uses_peers:
        facts["other servers"] = ", ".join(options.peers) or f"may connect to port {options.peer_port}"
    return facts


def pitfalls(options: ServerOptions) -> list[CheckResult]:
    """Return what to check before these options are put into a manifest."""
    return [
        *_frontend_pitfalls(options),
        *_agent_pitfalls(options),
        *_choice_pitfalls(options),
        *_lifetime_pitfalls(options),
        *profiles(options.enable_profiling, options.admin_bind_address, bool(options.admin_token_file)),
        *shared(options, _listeners(options)),
    ]


def _frontends(options: ServerOptions) -> list[str]:
    spoken = " and ".join(options.modes)
    found = [f"{spoken} on unix socket {options.uds_name}"] if options.uds_name else []
    if options.tcp_frontend:
        found.append(f"{spoken} on {options.server_bind_address or '*'}:{options.server_port} (mutual TLS)")
    return found


def _egress(options: ServerOptions) -> str:
    protocols = {GRPC: "GRPC", HTTP_CONNECT: "HTTPConnect"}
    spoken = " or ".join(protocols[mode] for mode in options.modes if mode in protocols)
    if options.uds_name:
        return f"proxyProtocol {spoken}, transport.uds.udsName {options.uds_name}"
    return f"proxyProtocol {spoken}, transport.tcp.url https://HOST:{options.server_port} with tlsConfig"


def _credentials(options: ServerOptions) -> str:
    parts = [f"a certificate of {options.cluster_ca_cert}"] if options.cluster_ca_cert else []
    if options.reviews_tokens:
        account = f"{options.agent_namespace}/{options.agent_service_account}"
        parts.append(f"a token of service account {account} for audience {options.authentication_audience}")
    return " and ".join(parts) or "nothing"


def _servers(options: ServerOptions) -> str:
    count = options.server_count * options.workers
    return f"there {'is 1 server' if count == 1 else f'are {count} servers'}"


def _listeners(options: ServerOptions) -> list[ListenPort]:
    own = [
        ListenPort("--agent-port", options.agent_bind_address, options.agent_port),
        ListenPort("--health-port", options.health_bind_address, options.health_port),
        ListenPort("--admin-port", options.admin_bind_address, options.admin_port),
    ]
    opened = {
        port_address(options.agent_bind_address, options.agent_port)
    }  # frontends and peer servers may share the port of agents, or each other's
    for flag, host, port, used in (
        ("--server-port", options.server_bind_address, options.server_port, options.tcp_frontend),
        ("--peer-port", options.peer_bind_address, options.peer_port, True),
    ):
        address = port_address(host, port)
        if used and address not in opened:
            opened.add(address)
            own.append(ListenPort(flag, host, port))
    return own


def _frontend_pitfalls(options: ServerOptions) -> list[CheckResult]:
    found = []
    if options.tcp_frontend and HTTP_CONNECT not in options.modes:
        found.append(
            warning(
                "grpc-over-tcp",
                "--mode",
                "grpc on TCP: kube-apiserver speaks gRPC on a unix socket only",
                "--mode=http-connect (or grpc,http-connect), or --uds-name",
            )
        )
    if options.uds_name and not options.delete_existing_uds_file:
        found.append(
            warning(
                "old-socket",
                "--delete-existing-uds-file",
                f"false: after a crash {options.uds_name} is still there, and the server does not start again",
                "leave it true",
            )
        )
    if options.uds_name and not options.uds_name.startswith("/"):
        what = f"{options.uds_name} is relative to wherever the program is started"
        found.append(failed("socket-path", "--uds-name", what, "give an absolute path, the same as in udsName"))
    if options.tls_min_version in _OLD_TLS:
        what = f"{options.tls_min_version}: broken, and OpenSSL may refuse it all the same"
        found.append(warning("tls-version", "--tls-min-version", what, "VersionTLS12"))
    return found


def _agent_pitfalls(options: ServerOptions) -> list[CheckResult]:
    found = []
    if options.insecure_allow_unauthenticated_agents and not (options.cluster_ca_cert or options.reviews_tokens):
        found.append(
            warning(
                "anyone",
                "--insecure-allow-unauthenticated-agents",
                f"whoever reaches port {options.agent_port} can register as an agent and receive the cluster's traffic",
                "--cluster-ca-cert, or --agent-namespace, --agent-service-account and --authentication-audience",
            )
        )
    if options.agent_identity == "none" and "destHost" in options.proxy_strategies:
        found.append(
            warning(
                "claims",
                "--agent-identity",
                "none: with destHost, any agent with a credential may claim any address and gets its traffic",
                "--agent-identity=certificate-san or token (docs/secure/identity.md)",
            )
        )
    alone = not (options.enable_lease_controller or options.uses_peers) and options.server_count * options.workers == 1
    if alone:
        found.append(
            warning(
                "server-count",
                "--server-count",
                "1: agents stay with the first server they meet. With more servers than one, the others have no agents "
                "(No agent available)",
                "the number of servers, or --enable-lease-controller (and --count-server-leases on agents), or --peers",
            )
        )
    return found


def _choice_pitfalls(options: ServerOptions) -> list[CheckResult]:
    names = options.proxy_strategies.split(",")
    found = []
    if "default" not in names:
        what = f"{options.proxy_strategies}: a destination that no agent names"
        what += " and that has no default-route agent" if "defaultRoute" in names else ""
        do = "add default at the end, unless that is wanted"
        found.append(warning("no-default", "--proxy-strategies", f"{what} is refused (No agent available)", do))
    if not options.backend_dial_timeout:
        what = "0: a dial through an agent that is stuck hangs for as long as its client waits"
        found.append(warning("dial-timeout", "--backend-dial-timeout", what, "leave it at 10s"))
    return found


def _lifetime_pitfalls(options: ServerOptions) -> list[CheckResult]:
    found = silence(options.heartbeat_interval, options.keepalive_time, "an agent")
    limit = options.graceful_shutdown_timeout
    if limit < 1:
        what = f"{format_duration(limit)}: at SIGTERM every exec, log and webhook through this server is cut"
        found.append(warning("grace", "--graceful-shutdown-timeout", what, "leave it at 25s"))
    return found + grace("--graceful-shutdown-timeout", limit)

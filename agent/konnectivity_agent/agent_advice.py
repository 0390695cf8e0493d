"""Advice on the options of proxy-agent: a summary of their effect, and pitfalls. Pure: options in, findings out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address

from konnectivity.runtime.options import format_duration
from konnectivity.tool.check_results import CheckResult, failed, warning
from konnectivity.tool.shared_advice import ListenPort, grace, profiles, shared, silence
from konnectivity.tunnel.memory_budget import MIB, process_share
from konnectivity_agent.agent_options import AgentOptions, identifiers_that_fit_nothing

POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
PUBLISHED_BUDGET = process_share(30 * MIB)  # bytes of buffers with which an agent fits into published manifests' limit
HTTPS = 443


def amounts_to(options: AgentOptions, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the effect of the options, as named facts for a person."""
    facts = {"servers": ", ".join(f"{host}:{port}" for host, port in _servers(options)) or "none"}
    facts["through the proxy"] = ", ".join(sorted(_proxies(options, environment))) or "none"
    facts["trusts"] = options.ca_cert or "nobody"
    facts["shows"] = _credentials(options)
    facts["stands for"] = options.agent_identifiers or "no address (only the strategy default chooses it)"
    facts["how many servers"] = _count(options)
    allowed = ", ".join(options.allow_destination) or "everything but cloud metadata"
    denied = f", but not {', '.join(options.deny_destination)}" if options.deny_destination else ""
    facts["may dial"] = allowed + denied
    drain = options.drain_timeout
    facts["after SIGTERM"] = f"leaves when idle, or after {format_duration(drain)}" if drain else "leaves when idle"
    facts["health, metrics"] = f"{options.health_server_host or '*'}:{options.health_server_port}"
    facts["admin"] = f"{options.admin_bind_address or '*'}:{options.admin_server_port}"
    return facts


def pitfalls(options: AgentOptions) -> list[CheckResult]:
    """Return the pitfalls of the options: what to look at before they are put into a manifest."""
    listeners = [
        ListenPort("--health-server-port", options.health_server_host, options.health_server_port),
        ListenPort("--admin-server-port", options.admin_bind_address, options.admin_server_port),
    ]
    return [
        *_server_pitfalls(options),
        *_credential_pitfalls(options),
        *_identifier_pitfalls(options),
        *silence(options.heartbeat_interval, options.keepalive_time, "a server"),
        *_end_pitfalls(options),
        *_memory_pitfalls(options),
        *profiles(options.enable_profiling, options.admin_bind_address),
        *shared(options, listeners),
    ]


def _servers(options: AgentOptions) -> list[tuple[str, int]]:
    with suppress(ValueError):  # the check of the options reports an invalid value
        return options.servers
    return []


def _proxies(options: AgentOptions, environment: Mapping[str, str]) -> set[str]:
    with suppress(ValueError):
        return {str(proxy) for proxy in options.proxies(environment).values()}
    return {"HTTPS_PROXY cannot be used"}


def _credentials(options: AgentOptions) -> str:
    parts = [f"certificate {options.agent_cert}"] if options.agent_cert else []
    parts += [f"token {options.service_account_token_path}"] if options.service_account_token_path else []
    return " and ".join(parts) or "nothing"


def _count(options: AgentOptions) -> str:
    if options.count_server_leases:
        where = f"leases in {options.lease_namespace} ({options.lease_label_selector or 'all'})"
        return f"the larger of {where} and what servers say" if options.server_count_source == "max" else where
    return "what servers say" + (", and it goes on looking for more" if options.sync_forever else "")


def _server_pitfalls(options: AgentOptions) -> list[CheckResult]:
    found = []
    if not options.given("proxy_server_host"):
        what = "not set: 127.0.0.1, where a server is only in a test"
        found.append(warning("server", "--proxy-server-host", what, "the servers' addresses, or the balancer's"))
    for host, port in _servers(options):
        if port == HTTPS and _is_ip(host):
            found.append(
                warning(
                    "sni",
                    "--proxy-server-host",
                    f"{host}:{port}: for an address no server name is sent in TLS (SNI), so that a router on port 443 "
                    "that goes by names cannot tell whose it is",
                    "give the name that the router knows",
                )
            )
    if not (options.sync_forever or options.count_server_leases) and len(_servers(options)) == 1:
        found.append(
            warning(
                "scaling",
                "--sync-forever",
                "off, and no leases: when servers are added behind the one address, servers of the reference do not "
                "announce it (those of this project do), and the new servers stay without this agent",
                "--sync-forever while servers are those of the reference",
            )
        )
    return found


def _credential_pitfalls(options: AgentOptions) -> list[CheckResult]:
    found = []
    if not (options.agent_cert or options.service_account_token_path):
        what = "the agent shows neither a certificate nor a token: servers refuse it"
        found.append(failed("credential", "--agent-cert", what, "--agent-cert and --agent-key, or a token"))
    if options.service_account_token_path == POD_TOKEN:
        found.append(
            warning(
                "token-audience",
                "--service-account-token-path",
                f"{POD_TOKEN} is the pod's own token, for the API's audience: a server that asks for "
                "system:konnectivity-server refuses it",
                "a projected volume with serviceAccountToken.audience: system:konnectivity-server",
            )
        )
    if options.count_server_leases:
        verbs = f"get, list and watch of leases in {options.lease_namespace}"
        do = "the Role of docs/operate/kubernetes.md, bound to the agent's service account"
        found.append(warning("leases", "--count-server-leases", f"needs {verbs}; nothing grants them by itself", do))
    return found


def _identifier_pitfalls(options: AgentOptions) -> list[CheckResult]:
    return [
        warning(
            "identifier",
            "--agent-identifiers",
            f"{kind}={value}: no destination will ever match it",
            f"a value that is an {kind}, or host=",
        )
        for kind, value in identifiers_that_fit_nothing(options.agent_identifiers)
    ]


def _end_pitfalls(options: AgentOptions) -> list[CheckResult]:
    if options.drain_timeout:
        return grace("--drain-timeout", options.drain_timeout)
    what = "0: the agent waits for its last connection, and is killed when the pod's time is over"
    return [warning("grace", "--drain-timeout", what, "leave it at 25s")]


def _memory_pitfalls(options: AgentOptions) -> list[CheckResult]:
    if options.process_buffer_budget <= PUBLISHED_BUDGET:
        return []
    what = f"{options.process_buffer_budget // MIB} MiB may wait in the agent: too much for the 30 MiB that published "
    do = "raise resources.limits.memory with it"
    return [warning("memory", "--process-buffer-budget", what + "manifests limit it to", do)]


def _is_ip(host: str) -> bool:
    with suppress(ValueError):
        ip_address(host.strip("[]"))
        return True
    return False

"""Options of one tenant: those options of `proxy-server` that a tenant may set, its names and its limits.

A tenant's file has the form of the file of --config. What the file leaves out holds as the server's own options say;
only credentials are never shared: a tenant without a credential of its own has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from konnectivity.runtime.options import STRINGS, at_least, declared, option, read_over
from konnectivity_server import option_rules
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.server_names import normal

MAX_NAME = 253  # characters
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62}\.)*[a-z0-9_-]{0,62}[a-z0-9]|(\*\.)?[a-z0-9]")
_FLAG = re.compile("--([a-z0-9-]+)")
_DIGEST = re.compile("[0-9a-f]{64}")
_USED_AS_IT_IS = frozenset(("admin_token_sha256",))  # a change of these needs no new start of the tenant

# Options that a tenant may set, by field.
CREDENTIALS = frozenset(
    (
        "admin_token_sha256",
        "cluster_ca_cert",
        "server_ca_cert",
        "uds_name",
        "kubeconfig",
        "frontend_policy",
        "server_names",
        "frontend_names",
    )
)
TOKENS = frozenset(("agent_namespace", "agent_service_account", "authentication_audience"))
FILES = frozenset(
    (
        "cluster_cert",
        "cluster_key",
        "cluster_ca_cert",
        "server_cert",
        "server_key",
        "server_ca_cert",
        "kubeconfig",
        "frontend_policy",
        "probe_ca_cert",
        "probe_cert",
        "probe_key",
    )
)
ALLOWED = (
    CREDENTIALS
    | TOKENS
    | FILES
    | frozenset(
        (
            "agent_identity",
            "backend_dial_timeout",
            "connection_buffer_budget",
            "connection_window",
            "connection_window_max",
            "delete_existing_uds_file",
            "enable_lease_controller",
            "frontend_keepalive_time",
            "heartbeat_interval",
            "keepalive_time",
            "konnectivity_extension",
            "kubeconfig_burst",
            "kubeconfig_qps",
            "lease_label",
            "lease_namespace",
            "max_address_length",
            "max_connections",
            "max_dial_rate",
            "max_pending_dials_per_agent",
            "max_pending_dials_per_frontend",
            "mode",
            "probe",
            "probe_interval",
            "probe_node_events",
            "probe_rate",
            "process_buffer_budget",
            "proxy_strategies",
            "ready_when",
            "server_count",
            "stream_hold_timeout",
            "tunnel_buffer_budget",
        )
    )
)


def _names(texts: tuple[str, ...]) -> str | None:
    wrong = [text for text in texts if len(text) > MAX_NAME or not _NAME.fullmatch(text.lower())]
    return f"{wrong[0]!r} is no DNS name; write it as a.example.com or *.example.com" if wrong else None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class TenantOptions(ServerOptions):
    """Options of one tenant; those that only a tenant has are declared here."""

    server_names: tuple[str, ...] = option(
        (),
        group="Tenant",
        check=_names,
        metavar="names",
        help="Comma-separated TLS server names by which agents reach the tenant; *.example.com stands for every name "
        "with one label before .example.com (required).",
    )
    frontend_names: tuple[str, ...] = option(
        (),
        check=_names,
        metavar="names",
        help="Comma-separated TLS server names by which frontends reach the tenant (empty = those of server-names).",
    )
    max_connections: int = option(
        10_000,
        check=at_least(0),
        help="Maximum number of concurrent TCP connections of the tenant's agents and frontends to this server (0 = "
        "unlimited).",
    )
    max_dial_rate: int = option(
        0,
        check=at_least(0),
        help="Maximum number of the tenant's dials per second, with bursts of twice that number; above the limit "
        "dials are refused (0 = unlimited).",
    )

    admin_token_sha256: tuple[str, ...] = option(
        (),
        metavar="digests",
        help="Comma-separated SHA-256 digests, in hex, of tokens with which the admin port answers about this tenant, "
        "and about no other one (empty = only a token of the server does).",
    )

    @property
    def tcp_frontend(self) -> bool:
        """Return whether frontends of the tenant may come by TCP."""
        return bool(self.server_ca_cert)

    @property
    def ports(self) -> dict[tuple[str, int], list[str]]:
        """Return the roles of the tenant's clients of each TCP port; a server name leads to the peer servers' end."""
        found = {address: [role for role in roles if role != "peers"] for address, roles in super().ports.items()}
        return {address: roles for address, roles in found.items() if roles}

    @property
    def names_of_frontends(self) -> tuple[str, ...]:
        """Return the TLS server names by which frontends reach the tenant."""
        return self.frontend_names or self.server_names

    def problems(self) -> list[str]:
        found = [] if self.server_names else ["server-names is needed: the TLS server names of the tenant's agents"]
        if self.needs_kubernetes and not self.kubeconfig:
            found.append("kubeconfig is needed for token reviews and leases: that of the tenant's cluster")
        if not all(map(_DIGEST.fullmatch, self.admin_token_sha256)):  # the text quotes no value: it may be a token
            found.append("admin-token-sha256 has a value that is no SHA-256 digest, which has 64 digits 0-9 and a-f")
        if self.admin_token_sha256 and not self.admin_token_file:
            found.append("admin-token-sha256 has no effect: the server has no file of tokens for its admin port")
        return found + [as_in_file(each) for each in super().problems()]

    def conflicts(self) -> list[str]:
        return option_rules.problems_of_tenant(self)

    def differs_from(self, other: TenantOptions) -> bool:
        """Return whether any value differs that the tenant has used since its start."""
        return any(
            getattr(self, each.name) != getattr(other, each.name)
            for each in fields(self)
            if "option" in each.metadata and each.name not in _USED_AS_IT_IS
        )


def share_port(process: ServerOptions) -> bool:
    """Return whether agents and frontends of a tenant share a port."""
    return any({"agents", "frontends"} <= set(roles) for roles in process.ports.values())


def peer_names(process: ServerOptions) -> frozenset[str]:
    """Return the TLS server names that lead to peer servers on a port of tenants; empty: they have a port."""
    shared = any("peers" in roles and len(roles) > 1 for roles in process.ports.values())
    return frozenset(normal(host) for host, _ in process.peer_hosts) if shared else frozenset()


def inherited(process: ServerOptions) -> dict[str, Any]:
    """Return the values that a tenant has from the options of its server, by field."""
    private = CREDENTIALS | TOKENS | {"tenants", "config", "insecure_allow_unauthenticated_agents"}
    return {each.field: getattr(process, each.field) for each in declared(ServerOptions) if each.field not in private}


def read_tenant(inherited_values: Mapping[str, Any], path: Path) -> tuple[TenantOptions, list[str]]:
    """Return the options in a tenant's file, over the inherited values, and all errors in them.

    Paths of files are relative to the folder of the tenant's file.
    """
    return read_over(TenantOptions, ALLOWED, str(path), inherited_values, lambda text: str(path.parent / text), FILES)


def as_in_file(text: str) -> str:
    """Return a text in which a tenant's options are named as its file writes them, not as flags."""
    return _FLAG.sub(lambda found: found[1] if found[1].replace("-", "_") in ALLOWED else found[0], text)


def own_values(options: TenantOptions) -> dict[str, str]:
    """Return the values that the tenant's own file set, as text by name of the option."""
    found = {}
    for each in declared(TenantOptions):
        if options.given(each.field):
            value = getattr(options, each.field)
            found[each.flag] = ",".join(value) if each.kind is STRINGS else each.kind.write(value)
    return found

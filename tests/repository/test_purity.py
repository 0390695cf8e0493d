"""Tests that pure modules import no event loop, socket, TLS, clock, thread or log."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.checkout import ROOT

PURE_FOLDERS = ("konnectivity/http2", "konnectivity/wire", "konnectivity/tool/manifests")
PURE_MODULES = (
    "konnectivity/net/destination_policy.py",
    "agent/konnectivity_agent/name_servers.py",
    "agent/konnectivity_agent/pool_plan.py",
    "agent/konnectivity_agent/server_count.py",
    "konnectivity/errors.py",
    "konnectivity/forward/names/dns_messages.py",
    "konnectivity/forward/failure_answers.py",
    "konnectivity/forward/names/name_rules.py",
    "konnectivity/forward/names/name_settings.py",
    "konnectivity/forward/password_guesses.py",
    "konnectivity/forward/proxied_exchange.py",
    "konnectivity/forward/proxy_requests.py",
    "konnectivity/forward/socks5.py",
    "konnectivity/grpc/framing.py",
    "konnectivity/grpc/budgets/header_budget.py",
    "konnectivity/grpc/implementations.py",
    "konnectivity/grpc/budgets/message_memory.py",
    "konnectivity/grpc/metadata.py",
    "konnectivity/grpc/round_trip.py",
    "konnectivity/grpc/budgets/send_budget.py",
    "konnectivity/grpc/status.py",
    "konnectivity/http1/connection_limit.py",
    "konnectivity/http1/http_exchange.py",
    "konnectivity/http1/message_heads.py",
    "konnectivity/kube/api_answers.py",
    "konnectivity/kube/json_object.py",
    "konnectivity/kube/kubeconfig_writer.py",
    "konnectivity/kube/labels.py",
    "konnectivity/kube/lease_objects.py",
    "konnectivity/kube/lease_validity.py",
    "konnectivity/metrics/histograms.py",
    "konnectivity/metrics/tunnel_stats.py",
    "konnectivity/net/addresses.py",
    "konnectivity/net/backoff.py",
    "konnectivity/net/proxy_header.py",
    "konnectivity/net/source_address.py",
    "konnectivity/net/token_bucket.py",
    "konnectivity/runtime/logs/logged_reasons.py",
    "konnectivity/tls/client_hello.py",
    "konnectivity/tls/pem.py",
    "konnectivity/tls/x509_fields.py",
    "konnectivity/tunnel/bridge.py",
    "konnectivity/tunnel/connection.py",
    "konnectivity/tunnel/extension.py",
    "konnectivity/tunnel/flow_control.py",
    "konnectivity/tunnel/inbound_flow.py",
    "konnectivity/tunnel/interfaces.py",
    "konnectivity/tunnel/memory_budget.py",
    "konnectivity/tunnel/outbound_queue.py",
    "konnectivity/grpc/round_trip_probe.py",
    "konnectivity/tunnel/scheduler.py",
    "konnectivity/tunnel/sides.py",
    "konnectivity/tunnel/states.py",
    "konnectivity/untrusted/agent_id.py",
    "konnectivity/untrusted/bounded_map.py",
    "konnectivity/untrusted/numbers.py",
    "konnectivity/untrusted/untrusted_text.py",
    "server/konnectivity_server/agents/agent_identifiers.py",
    "server/konnectivity_server/agents/agent_introduction.py",
    "server/konnectivity_server/agents/agent_load.py",
    "server/konnectivity_server/agents/agent_presence.py",
    "server/konnectivity_server/agents/credential_identity.py",
    "server/konnectivity_server/agents/review_queue.py",
    "server/konnectivity_server/agents/token_claims.py",
    "server/konnectivity_server/audit/audit_records.py",
    "server/konnectivity_server/dial_observer.py",
    "server/konnectivity_server/frontends/connect_messages.py",
    "server/konnectivity_server/option_rules.py",
    "server/konnectivity_server/peers/peer_protocol.py",
    "server/konnectivity_server/probes/data_plane.py",
    "server/konnectivity_server/probes/first_flight.py",
    "server/konnectivity_server/probes/path_faults.py",
    "server/konnectivity_server/probes/path_record.py",
    "server/konnectivity_server/probes/probe_classes.py",
    "server/konnectivity_server/probes/probe_exchanges.py",
    "server/konnectivity_server/probes/probe_schedule.py",
    "server/konnectivity_server/readiness.py",
    "server/konnectivity_server/recent_declines.py",
    "server/konnectivity_server/recent_problems.py",
    "server/konnectivity_server/registry.py",
    "server/konnectivity_server/strategies.py",
    "server/konnectivity_server/tracing/trace_parent.py",
    "server/konnectivity_server/workers/merged_answers.py",
)
PURE = [
    *(path for folder in PURE_FOLDERS for path in sorted((ROOT / folder).glob("*.py"))),
    *map(ROOT.joinpath, PURE_MODULES),
]
IMPURE = {"asyncio", "socket", "ssl", "time", "logging", "threading", "select", "uvloop", "grpc"}


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_imports_nothing_that_acts(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert not imported & IMPURE

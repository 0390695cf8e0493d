"""Metrics of the proxy server: those of the reference with its names, types, labels and HELP texts, and further ones.

The collector reads plain counters at each scrape. Label values that never occurred are not shown, as clients
compare whole families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from konnectivity.errors import DialFailure
from konnectivity.metrics import program_families, tunnel_families
from konnectivity.metrics.exposition import Family, counter, gauge, histogram, histograms, metrics_of, requests
from konnectivity.metrics.histograms import Histogram
from konnectivity.metrics.tunnel_stats import DIAL_BOUNDS, TunnelStats
from konnectivity_server import strategies
from konnectivity_server.api.server_view import ServerView

if TYPE_CHECKING:
    from prometheus_client import Metric

    from konnectivity_server.audit.audit_log import DialRecorder
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.tracing.dial_tracing import DialTracing

# Kinds of failure that the reference does not tell apart.
_REASONS = {DialFailure.CLOSED_BY_AGENT.value: DialFailure.TUNNEL_LOST.value}


class ServerCollector:
    """Collector of one server's metrics."""

    def __init__(self, view: ServerView) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        return metrics_of(self._families())

    def _families(self) -> Iterator[Family]:
        view = self._view
        yield from self.families_of_tenant()
        yield limits_reached(view.limits)
        yield from families_of_process(view.limits, view.dials.audit, view.dials.tracing)

    def families_of_tenant(self) -> Iterator[Family]:
        """Yield what belongs to the tenant; limits that were reached are left out."""
        agents, frontends = self._view.agent_traffic, self._view.frontend_traffic
        yield from self._connections(agents)
        yield from self._agents(agents, frontends)
        yield tunnel_families.packets(
            "server",
            {
                "from_client": (frontends.received_control, frontends.received_data),
                "to_client": (frontends.sent_control, frontends.sent_data),
                "from_agent": (agents.received_control, agents.received_data),
                "to_agent": (agents.sent_control, agents.sent_data),
            },
        )
        yield tunnel_families.stream_errors("server", {"from_client": frontends, "from_agent": agents})
        yield from tunnel_families.connections("server", agents, "to_agent", "from_agent")
        yield from tunnel_families.memory("server", self._view.memory)
        yield from program_families.certificates("server", self._view.certificates)
        yield from self._token_reviews()
        yield from self._leases()
        yield from self._peers()
        yield from self._identity()
        yield from self._probes()
        yield from self._forward()

    def _connections(self, agents: TunnelStats) -> Iterator[Family]:
        view = self._view
        yield histogram(
            "server_dial_duration_seconds", "Latency of dial to the remote endpoint in seconds", agents.dial_seconds
        )
        yield histogram(
            "server_frontend_write_duration_seconds", "Latency of write to the frontend in seconds", _writes(agents)
        )
        yield histogram(
            "server_connection_duration_seconds",
            "Duration in seconds a proxied end-to-end connection was established (post-dial) before being closed.",
            agents.durations,
        )
        yield counter(
            "server_connection_close_total",
            "Established end-to-end connections (post-dial) that were closed, by what closed them first.",
        ).add_each("reason", _close_reasons(agents))
        yield gauge("server_http_connections", "Number of current HTTP CONNECT connections").add(view.connect.clients)
        yield gauge("server_pending_backend_dials", "Current number of pending backend dial requests").add(
            sum(agent.unanswered for agent in view.registry.all())
        )
        yield gauge(
            "server_established_connections", "Current number of established end-to-end connections (post-dial)."
        ).add(sum(len(agent.connections) for agent in view.registry.all()))
        failures: dict[str, int] = {}
        for reason, count in agents.dial_failures.items():
            name = _REASONS.get(reason, reason)
            failures[name] = failures.get(name, 0) + count
        yield counter(
            "server_dial_failure_count",
            "Number of dial failures observed. Multiple failures can occur for a single dial request.",
        ).add_each("reason", failures)

    def _agents(self, agents: TunnelStats, frontends: TunnelStats) -> Iterator[Family]:
        view = self._view
        ready = {name: strategies.ready(name, view.registry) for name in view.strategies}
        text = "Number of konnectivity agent connected to the proxy server"
        yield gauge("server_ready_backends", text).add_each("proxy_strategy", ready)
        yield gauge("server_ready_backend_connections", f"{text}. DEPRECATED, please use ready_backends").add(
            ready[view.strategies[-1]]
        )
        yield gauge("server_suspect_backends", "Agents that are connected and do not answer.").add(
            sum(agent.suspect for agent in view.registry.all())
        )
        yield counter("server_suspected_backends_total", "Times a connected agent stopped answering.").add(
            view.agents.fell_silent
        )
        yield counter(
            "server_dials_moved_total", "Dials given to another agent because the first had no answer, or no room."
        ).add(view.dials.retried)
        kinds = {"Connect": agents, "Proxy": frontends}
        yield gauge(
            "server_grpc_connections", "Number of current grpc connections, partitioned by service method."
        ).add_each("service_method", {name: each.streams for name, each in kinds.items() if each.streams_seen})
        yield gauge(
            "server_full_receive_channels",
            "Number of current connections blocked by a full receive channel, partitioned by service method.",
        ).add_each("service_method", {name: each.holding for name, each in kinds.items()})

    def _peers(self) -> Iterator[Family]:
        if self._view.peers is None:
            return
        tunnels, traffic = self._view.peer_tunnels, self._view.peer_traffic
        yield gauge("server_peers", "Other servers that this one can dial through, by state.").add_each(
            "state", {"ready": sum(each.usable for each in tunnels), "other": sum(not each.usable for each in tunnels)}
        )
        yield gauge("server_peer_connections", "Connections through agents of other servers.").add(
            sum(len(each.connections) for each in tunnels)
        )
        yield counter("server_peer_dials_total", "Dials that an agent of another server answered.").add(traffic.opened)
        yield counter(
            "server_peer_dial_failures_total", "Dials through other servers that failed, by reason."
        ).add_each("reason", traffic.dial_failures)

    def _identity(self) -> Iterator[Family]:
        agents, verifier = self._view.agents, self._view.claim_verifier
        yield counter("server_agent_id_conflicts_total", "Agents that came with the id of another one.").add(
            agents.conflicts
        )
        yield counter(
            "server_agent_claims_refused_total", "Agents refused for a claim that their credential does not vouch for."
        ).add_each("claim", verifier.refused if verifier is not None else {})

    def _probes(self) -> Iterator[Family]:
        prober = self._view.prober
        if prober is None:
            return
        paths = gauge("server_paths", "Paths through connected agents, by class of probe and state.")
        for (name, state), count in sorted(prober.counts().items()):
            paths.add(count, probe=name, state=state)
        yield paths
        probes = counter("server_path_probes_total", "Probes of paths that ended, by class and result.")
        for (name, result), count in sorted(prober.results.items()):
            probes.add(count, probe=name, result=result)
        yield probes
        yield histograms(
            "server_path_probe_seconds", "Duration of probes that passed, by class.", "probe", prober.seconds
        )
        yield counter(
            "server_path_probes_deferred_total", "Probes that waited because the agent or the server had no room."
        ).add(prober.put_off)
        yield gauge("server_data_plane_available", "Whether an agent passes all its probes: 1, or 0.").add(
            prober.data_plane.trouble() is None
        )

    def _forward(self) -> Iterator[Family]:
        forward = self._view.forward
        if forward is None:
            return
        from konnectivity.forward.forward_metrics import client_families

        yield from client_families("server_forward", forward.clients, forward.dials)

    def _token_reviews(self) -> Iterator[Family]:
        found = self._view.token_authenticator
        if found is None:
            return
        yield counter("server_token_reviews_total", "Token reviews asked of the Kubernetes API.").add(found.reviews)
        yield counter(
            "server_token_reviews_saved_total", "Agents admitted or refused by a review made before or for another."
        ).add(found.cache_hits + found.shared)
        yield counter("server_agents_refused_total", "Agents refused for their token, by reason.").add_each(
            "reason", found.refused
        )
        yield histogram(
            "server_token_review_seconds", "Latency of token reviews, with the wait for their turn.", found.seconds
        )

    def _leases(self) -> Iterator[Family]:
        lease = self._view.server_lease
        yield counter(
            "server_culled_leases_count",
            "Count of expired leases that the lease garbage collection controller has culled.",
        ).add(lease.culled if lease else 0)
        if lease is None:
            return
        yield from requests(
            "http_status_code",
            lease.deletes,
            (
                "server_lease_delete_total",
                "Count of lease delection calls by the garbage collection controller. "
                "Labeled by HTTP status code and reason.",
            ),
            (
                "server_lease_delete_latency_seconds",
                "Latency of lease deletion calls by the garbage collection controller in seconds.",
            ),
        )
        yield from requests(
            "http_status_code",
            lease.lists,
            (
                "server_lease_list_total",
                "Count of lease deletion calls by the garbage collection controller. "
                "Labeled by HTTP status code and reason.",
            ),
            (
                "server_lease_list_latency_seconds",
                "Latency of lease list calls by the garbage collection controller in seconds.",
            ),
        )


def limits_reached(limits: ServerLimits) -> Family:
    """Return how often each limit was reached."""
    return program_families.limits_reached("server", limits.reached)


def families_of_process(
    limits: ServerLimits, audit: DialRecorder | None, tracing: DialTracing | None
) -> Iterator[Family]:
    """Yield what belongs to the process: its listeners, its logs, its build."""
    yield from program_families.dropped_log_lines("server")
    yield program_families.unexpected_errors("server")
    yield program_families.build_info("server")
    handshakes = counter(
        "server_tls_handshake_failures_total", "TLS handshakes of a listener that failed, by listener and reason."
    )
    for (listener, reason), count in sorted(limits.handshake_failures.items()):
        handshakes.add(count, listener=listener, reason=reason)
    yield handshakes
    yield counter(
        "server_long_reads_total", "Reads of HTTP/2 connections that took so long that others had their turn first."
    ).add(limits.turns.taken)
    if audit is not None:
        yield counter("server_audit_lines_total", "Lines for the audit log.").add(audit.lines)
        yield counter("server_audit_lines_dropped_total", "Lines that the audit log did not get.").add(audit.dropped)
    if tracing is not None:
        export = tracing.export
        yield counter("server_tracing_spans_total", "Finished spans of dials.").add(export.spans)
        text = "Spans that the collector did not get."
        yield counter("server_tracing_spans_dropped_total", text).add(export.dropped)


def _close_reasons(agents: TunnelStats) -> dict[str, int]:
    """Return the closed connections by the words that the reference has for their reasons."""
    found: Counter[str] = Counter()
    for (cause, side), count in agents.closed.items():
        if cause == "tunnel_lost" or side == "server":
            found["stream_shutdown"] += count
        else:
            found["frontend_close" if side == "client" else "backend_close"] += count
    return dict(found)


def _writes(agents: TunnelStats) -> Histogram:
    """Return the times of writes to frontends: those that waited, and zero for those that the kernel took at once."""
    writes = Histogram(DIAL_BOUNDS)
    writes.merge(agents.stall_seconds)
    writes.observe(0.0, max(0, agents.received_data - agents.stall_seconds.count))
    return writes

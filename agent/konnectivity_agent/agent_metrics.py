"""Metrics of the proxy agent: names, types, labels and HELP texts of the reference, and those of this project.

Owns no counter: the collector reads the counters of other objects at each scrape. Label values that never occurred are
left out, because clients compare whole families.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from konnectivity.metrics import program_families, tunnel_families
from konnectivity.metrics.exposition import Family, counter, gauge, histogram, metrics_of, requests

if TYPE_CHECKING:
    from prometheus_client import Metric

    from konnectivity.kube.lease_counter import LeaseCounter
    from konnectivity.tls import ClientTls
    from konnectivity.tunnel.tunnel_options import TunnelOptions
    from konnectivity_agent.dialer import DialCounters
    from konnectivity_agent.server_pool import ServerPool


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Objects of one agent that its metrics are read from."""

    pool: ServerPool
    dials: DialCounters
    tunnels: TunnelOptions
    tls: ClientTls
    leases: LeaseCounter | None = None  # None: leases are not counted


class AgentCollector:
    """Collector of one agent's metrics."""

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Return all metric families with their values of now."""
        return metrics_of(self._families())

    def _families(self) -> Iterator[Family]:
        sources, tunnels, traffic = self._sources, self._sources.tunnels, self._sources.tunnels.traffic
        yield from self._dials()
        yield from self._servers()
        yield gauge("agent_open_endpoint_connections", "Current number of open endpoint connections.").add(
            sources.pool.connections
        )
        yield tunnel_families.packets(
            "agent",
            {
                "from_agent": (traffic.sent_control, traffic.sent_data),
                "to_agent": (traffic.received_control, traffic.received_data),
            },
        )
        yield tunnel_families.stream_errors("agent", {"to_agent": traffic})
        yield from tunnel_families.connections("agent", traffic, "to_server", "from_server")
        yield from tunnel_families.memory("agent", tunnels.memory)
        yield from program_families.dropped_log_lines("agent")
        yield program_families.unexpected_errors("agent")
        yield program_families.build_info("agent")
        yield program_families.limits_reached("agent", tunnels.reached)
        yield from program_families.certificates("agent", {"servers": sources.tls})
        yield from self._leases()

    def _dials(self) -> Iterator[Family]:
        dials = self._sources.dials
        yield histogram(
            "agent_dial_duration_seconds", "Latency of dial to the remote endpoint in seconds", dials.seconds
        )
        yield counter(
            "agent_endpoint_dial_failure_total",
            "Number of failures dialing the remote endpoint, by reason (example: timeout).",
        ).add_each("reason", dials.failures)
        yield counter("agent_dials_denied_total", "Dials refused by the policy on destinations, by reason.").add_each(
            "reason", dials.denied
        )

    def _leases(self) -> Iterator[Family]:
        leases = self._sources.leases
        if leases is None:
            return
        yield from requests(
            "http_response_code",
            leases.lists,
            (
                "agent_lease_lists_total",
                "Count of server lease list calls made by the agent to the k8s apiserver, "
                "labeled by HTTP response code and reason",
            ),
            ("agent_lease_list_latency_seconds", "Latency of server lease listing in seconds"),
        )
        yield from requests(
            "http_response_code",
            leases.watches,
            (
                "agent_lease_watches_total",
                "Count of server lease watch calls made by the agent to the k8s apiserver, "
                "labeled by HTTP response code and reason",
            ),
            ("agent_lease_watch_latency_seconds", "Latency of server lease watches in seconds, until they begin"),
        )

    def _servers(self) -> Iterator[Family]:
        pool = self._sources.pool
        connected = len(pool.servers)
        yield gauge("agent_open_server_connections", "Current number of open server connections.").add(connected)
        yield gauge("agent_suspect_servers", "Servers that are connected and do not answer.").add(
            connected - pool.answering
        )
        yield counter("agent_suspected_servers_total", "Times a connected server stopped answering.").add(
            pool.times_suspected
        )
        yield gauge(
            "agent_doubled_server_ids", "Server IDs that two servers have: only one of the two is connected."
        ).add(len(pool.duplicate_ids))
        yield gauge("agent_known_server_count", "Current number of servers agent is trying to connect to.").add(
            pool.count
        )
        yield counter(
            "agent_server_connection_failure_count",
            "Count of failures to send to or receive from the proxy server, labeled by the direction "
            "(from_server or to_server). DEPRECATED, please use stream_events_error_total",
        ).add_each("direction", pool.failures)

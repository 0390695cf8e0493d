"""Metric families of tunnels: names, labels, and which samples are left out."""

from __future__ import annotations

from types import SimpleNamespace

from konnectivity.metrics import program_families, tunnel_families
from konnectivity.metrics.exposition import text_of
from konnectivity.metrics.tunnel_families import go_name
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.wire import packet_types

PREFIX = "konnectivity_network_proxy_agent_"


def samples(*families):
    """Return the samples in the text of families, without the common prefix."""
    lines = text_of(families).decode().splitlines()
    return [line.removeprefix(PREFIX) for line in lines if not line.startswith("#")]


def test_packets_are_counted_by_segment_and_type_and_types_without_packets_are_left_out():
    others = [0] * 8
    others[packet_types.DIAL_REQ] = 2
    found = samples(tunnel_families.packets("agent", {"from_agent": (others, 5), "to_agent": ([0] * 8, 0)}))
    assert found == [
        'stream_packets_total{segment="from_agent",packet_type="DATA"} 5',
        'stream_packets_total{segment="from_agent",packet_type="DIAL_REQ"} 2',
    ]


def test_stream_errors_have_the_codes_of_go():
    stats = TunnelStats()
    stats.stream_failed("DEADLINE_EXCEEDED")
    assert samples(tunnel_families.stream_errors("agent", {"to_agent": stats})) == [
        'stream_errors_total{segment="to_agent",code="DeadlineExceeded",packet_type="Unknown"} 1'
    ]
    assert [go_name(code) for code in ("CANCELLED", "UNAVAILABLE")] == ["Canceled", "Unavailable"]


def test_traffic_has_its_directions_and_closed_connections_their_causes():
    stats = TunnelStats(sent_bytes=3, received_bytes=4, stalled=1)
    stats.connection_closed("reset", "target", 1.0)
    found = samples(*tunnel_families.connections("agent", stats, "to_server", "from_server"))
    assert 'bytes_total{direction="to_server"} 3' in found
    assert 'bytes_total{direction="from_server"} 4' in found
    assert 'connections_closed_total{cause="reset",side="target"} 1' in found
    assert "stalled_connections 1" in found


def test_memory_has_a_budget_for_each_scope():
    budget = MemoryBudget()
    found = samples(*tunnel_families.memory("agent", budget))
    assert f'buffer_budget_bytes{{scope="process"}} {budget.process_budget}' in found
    assert "buffered_bytes 0" in found


def test_a_certificate_that_is_not_there_has_no_expiry():
    files = SimpleNamespace(not_after=None, ca_not_after=7.0, last_reload=1.0, reloads=2, reload_failures=3)
    found = samples(*program_families.certificates("agent", {"servers": files}))
    assert found == [
        'certificate_expiry_timestamp_seconds{end="servers",kind="ca"} 7',
        'tls_last_reload_timestamp_seconds{end="servers"} 1',
        'tls_reload_failures_total{end="servers"} 3',
        'tls_reloads_total{end="servers"} 2',
    ]


def test_limits_are_sorted_by_name():
    assert samples(program_families.limits_reached("agent", {"b": 2, "a": 1})) == [
        'limits_reached_total{limit="a"} 1',
        'limits_reached_total{limit="b"} 2',
    ]

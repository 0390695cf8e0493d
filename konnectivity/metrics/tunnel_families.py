"""Metric families that tunnels of every kind have: names, labels and HELP texts for their counters.

Names of the reference are kept to the letter; those of this project stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from konnectivity.grpc.status import Code
from konnectivity.metrics.exposition import Family, counter, gauge, histogram
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.wire import packet_types

PACKETS_HELP = "Count of packets processed, by segment and packet type (example: from_client, DIAL_REQ)"
ERRORS_HELP = (
    "Count of gRPC stream errors, by segment, grpc Code, packet type. (example: from_agent, Code.Unavailable, DIAL_RSP)"
)


def packets(program: str, segments: Mapping[str, tuple[Sequence[int], int]]) -> Family:
    """Return the packets by segment, from segment -> (all packets but DATA by type, DATA packets)."""
    family = counter(f"{program}_stream_packets_total", PACKETS_HELP)
    for segment, (others, data) in segments.items():
        counts = {packet_types.NAMES[number]: count for number, count in enumerate(others) if count}
        name = packet_types.NAMES[packet_types.DATA]
        counts[name] = counts.get(name, 0) + data
        for packet_type, count in sorted(counts.items()):
            if count:
                family.add(count, segment=segment, packet_type=packet_type)
    return family


def stream_errors(program: str, segments: Mapping[str, TunnelStats]) -> Family:
    """Return the streams that ended with an error, by the segment that the error was read from."""
    family = counter(f"{program}_stream_errors_total", ERRORS_HELP)
    for segment, traffic in segments.items():
        for code, count in sorted(traffic.stream_errors.items()):
            family.add(count, segment=segment, code=go_name(code), packet_type="Unknown")
    return family


def go_name(code: str) -> str:
    """Return a status code as Go prints it: `DEADLINE_EXCEEDED` is `DeadlineExceeded`, `CANCELLED` is `Canceled`."""
    return "Canceled" if code == Code.CANCELLED.name else code.title().replace("_", "")


def connections(program: str, traffic: TunnelStats, outbound: str, inbound: str) -> Iterator[Family]:
    """Yield the traffic of one kind of tunnel, and its delays.

    Args:
        program: prefix of the names.
        traffic: the counters.
        outbound: label of the direction away from this program, such as `to_agent`.
        inbound: label of the direction towards this program, such as `from_agent`.

    """
    bytes_total = counter(f"{program}_bytes_total", "Payload bytes carried, by direction.")
    yield bytes_total.add(traffic.sent_bytes, direction=outbound).add(traffic.received_bytes, direction=inbound)
    closed = counter(f"{program}_connections_closed_total", "Connections closed, by cause and the side that caused it.")
    for (cause, side), count in sorted(traffic.closed.items()):
        closed.add(count, cause=cause, side=side)
    yield closed
    yield gauge(f"{program}_stalled_connections", "Connections whose local side takes no data at the moment.").add(
        traffic.stalled
    )
    yield histogram(
        f"{program}_stall_seconds", "How long a local side that took no data let it wait.", traffic.stall_seconds
    )
    yield gauge(
        f"{program}_credit_blocked_connections", "Connections that have data to send and no credit at the moment."
    ).add(traffic.starved)
    yield counter(
        f"{program}_credit_blocked_seconds_total", "Time that connections had data to send and no credit, added up."
    ).add(traffic.starved_seconds)
    yield counter(
        f"{program}_stream_holds_total", "Times a shared stream was held for one connection over its budget."
    ).add(traffic.held)
    yield counter(f"{program}_bad_packets_total", "Messages of peers that are no packets, or lack their payload.").add(
        traffic.bad_packets
    )
    yield histogram(f"{program}_tunnel_round_trip_seconds", "Round trips of pings on the tunnels.", traffic.round_trips)


def memory(program: str, budget: MemoryBudget) -> Iterator[Family]:
    """Yield buffered bytes, their limits, and the dials refused at the limit."""
    yield gauge(f"{program}_buffered_bytes", "Bytes that wait for peers that do not read.").add(budget.used)
    yield (
        gauge(f"{program}_buffer_budget_bytes", "Bytes that may wait before new dials are refused, by scope.")
        .add(budget.process_budget, scope="process")
        .add(budget.tunnel_budget, scope="tunnel")
        .add(budget.connection_budget, scope="connection")
    )
    yield gauge(f"{program}_window_growth_bytes", "Credit windows above their initial size, added up.").add(
        budget.grown
    )
    yield counter(f"{program}_dials_refused_total", "Dials refused because the buffer memory is spent.").add(
        budget.refused_dials
    )

"""/api/v1/overview: the server at a glance. Is it ready, what does it carry, what went wrong lately?"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from resource import RUSAGE_SELF, getrusage
from time import monotonic
from typing import TYPE_CHECKING, Any

from konnectivity import __version__
from konnectivity.http1.handlers import Request
from konnectivity.runtime import memory_trim
from konnectivity_server.api.agent_list import state_of
from konnectivity_server.api.list_queries import number
from konnectivity_server.api.traffic_samples import INTERVAL_S, SAMPLES

if TYPE_CHECKING:
    from konnectivity_server.server_app import ProxyServer


def of(server: ProxyServer, request: Request) -> dict[str, Any]:
    """The answer. Times in seconds.

    Raises:
        BadQuery: `history`, which says how many samples are wanted, is no number.

    """
    samples = number(request, "history", SAMPLES, SAMPLES)
    trouble = server.not_ready()
    return {
        "id": server.agents.server_id,
        "version": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "uptime": round(monotonic() - server.started_at, 3),
        "ready": trouble is None,
        "not_ready": trouble,
        "strategies": server.strategies,
        "agents": _agents(server),
        "connections": _connections(server),
        "memory": _memory(server),
        "totals": _totals(server),
        "certificates": _certificates(server),
        "handshake_failures": _handshake_failures(server),
        "history": {"interval": INTERVAL_S, "series": server.sampler.series(samples)},
        "dial_failures": {
            "by_reason": dict(sorted(server.agent_tunnels.traffic.dial_failures.items())),
            "recent": server.dispatcher.failures.listed(),
        },
        "agents_gone": server.agents.departures(),
    }


def _agents(server: ProxyServer) -> dict[str, int]:
    states = Counter(state_of(each) for each in server.registry.all())
    counts = {state: states[state] for state in ("ready", "silent", "draining", "duplicate", "declining", "full")}
    agents = server.agents
    return {"streams": len(server.registry), **counts, "refused": agents.refused, "id_conflicts": agents.conflicts}


def _connections(server: ProxyServer) -> dict[str, int]:
    peers = server.replicas.peers
    tunnels = server.registry.all()
    stalled = server.sampler.stalls.counts(monotonic())
    return {
        "open": sum(len(each.connections) for each in tunnels),
        "through_servers": 0 if peers is None else sum(len(each.connections) for each in peers.tunnels.values()),
        "pending_dials": sum(each.unanswered for each in tunnels),
        **{f"stalled_by_{side}": count for side, count in stalled.items()},
    }


def _memory(server: ProxyServer) -> dict[str, int]:
    ledger = server.ledger
    return {
        "resident_bytes": resident_bytes(),
        "buffered_bytes": ledger.used,
        "buffer_budget_bytes": ledger.process_budget,
        "tunnel_buffer_budget_bytes": ledger.tunnel_budget,
        "window_growth_bytes": ledger.grown,
        "window_growth_budget_bytes": ledger.growth_budget,
        "refused_dials": ledger.refused_dials,
    }


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process; where there is no /proc, the most that it has been."""
    try:
        return memory_trim.resident_bytes(statm)
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _totals(server: ProxyServer) -> dict[str, int]:
    traffic = server.agent_tunnels.traffic
    return {
        "dials": traffic.opened,
        "dial_failures": sum(traffic.dial_failures.values()),
        "bytes_to_destination": traffic.sent_bytes,
        "bytes_from_destination": traffic.received_bytes,
        "connections_closed": sum(traffic.closed.values()),
    }


def _handshake_failures(server: ProxyServer) -> dict[str, dict[str, int]]:
    """Return the number of failed TLS handshakes since the start by listener, then by reason."""
    found: dict[str, dict[str, int]] = {}
    for (listener, reason), count in sorted(server.limits.handshake_failures.items()):
        found.setdefault(listener, {})[reason] = count
    return found


def _certificates(server: ProxyServer) -> list[dict[str, Any]]:
    now = datetime.now(UTC).timestamp()
    return [
        {"end": end, "kind": kind, "expires_in": round(when - now), "reload_failures": files.reload_failures}
        for end, files in server.listeners.tls.items()
        for kind, when in (("certificate", files.not_after), ("ca", files.ca_not_after))
        if when is not None
    ]

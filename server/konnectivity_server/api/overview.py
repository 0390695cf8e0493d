"""Overview of the admin API: whether the server is ready, what it carries, and what failed lately."""

from __future__ import annotations

import time
from collections import Counter
from resource import RUSAGE_SELF, getrusage
from typing import Any

from konnectivity import __version__
from konnectivity.http1.handlers import Request
from konnectivity.runtime import memory_trim
from konnectivity_server.api.agent_list import state_of
from konnectivity_server.api.list_queries import number
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.traffic_samples import INTERVAL_S, SAMPLES


def of(view: ServerView, request: Request) -> dict[str, Any]:
    """Return the overview as JSON fields. Times are in seconds.

    Raises:
        BadQuery: `history`, the number of samples, is not a number.

    """
    samples = number(request, "history", SAMPLES, SAMPLES)
    trouble = view.not_ready()
    found = {
        "id": view.server_id,
        "version": __version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "uptime": round(view.clock() - view.started_at, 3),
        "ready": trouble is None,
        "not_ready": trouble,
        "strategies": view.strategies,
        "agents": _agents(view),
        "connections": _connections(view),
        "memory": _memory(view),
        "totals": _totals(view),
        "certificates": _certificates(view),
        "handshake_failures": _handshake_failures(view),
        "history": {"interval": INTERVAL_S, "series": view.sampler.series(samples)},
        "dial_failures": {
            "by_reason": dict(sorted(view.agent_traffic.dial_failures.items())),
            "recent": view.dials.failures.listed(),
        },
        "agents_gone": view.agents.departures(),
    }
    if view.prober is not None:
        from konnectivity_server.api import path_list

        found["paths"] = path_list.counts(view.prober)
    return found


def _agents(view: ServerView) -> dict[str, int]:
    states = Counter(state_of(each) for each in view.registry.all())
    counts = {state: states[state] for state in ("ready", "silent", "draining", "duplicate", "declining", "full")}
    agents = view.agents
    return {"streams": len(view.registry), **counts, "refused": agents.refused, "id_conflicts": agents.conflicts}


def _connections(view: ServerView) -> dict[str, int]:
    tunnels = view.registry.all()
    stalled = view.sampler.stalls.counts(view.clock())
    return {
        "open": sum(len(each.connections) for each in tunnels),
        "through_servers": sum(len(each.connections) for each in view.peer_tunnels),
        "pending_dials": sum(each.unanswered for each in tunnels),
        **{f"stalled_by_{side}": count for side, count in stalled.items()},
    }


def _memory(view: ServerView) -> dict[str, int]:
    memory = view.memory
    return {
        "resident_bytes": resident_bytes(),
        "buffered_bytes": memory.used,
        "buffer_budget_bytes": memory.process_budget,
        "tunnel_buffer_budget_bytes": memory.tunnel_budget,
        "window_growth_bytes": memory.grown,
        "window_growth_budget_bytes": memory.growth_budget,
        "refused_dials": memory.refused_dials,
    }


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process; without /proc, its largest value so far."""
    try:
        return memory_trim.resident_bytes(statm)
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _totals(view: ServerView) -> dict[str, int]:
    traffic = view.agent_traffic
    return {
        "dials": traffic.opened,
        "dial_failures": sum(traffic.dial_failures.values()),
        "bytes_to_destination": traffic.sent_bytes,
        "bytes_from_destination": traffic.received_bytes,
        "connections_closed": sum(traffic.closed.values()),
    }


def _handshake_failures(view: ServerView) -> dict[str, dict[str, int]]:
    """Return the number of failed TLS handshakes since the start by listener, then by reason."""
    found: dict[str, dict[str, int]] = {}
    for (listener, reason), count in sorted(view.limits.handshake_failures.items()):
        found.setdefault(listener, {})[reason] = count
    return found


def _certificates(view: ServerView) -> list[dict[str, Any]]:
    now = time.clock_gettime(time.CLOCK_REALTIME)
    return [
        {"end": end, "kind": kind, "expires_in": round(when - now), "reload_failures": files.reload_failures}
        for end, files in view.certificates.items()
        for kind, when in (("certificate", files.not_after), ("ca", files.ca_not_after))
        if when is not None
    ]

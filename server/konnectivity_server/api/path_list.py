"""Path list of the admin API: one row for each agent, with the state of the path of every class of probes.

/api/v1/paths returns the rows, the worst first; /api/v1/conditions the condition of the data plane.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from konnectivity.http1.handlers import Request, Response
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.api.list_queries import Keys, choose, query_of, written
from konnectivity_server.probes import data_plane, path_record
from konnectivity_server.probes.path_prober import PathProber
from konnectivity_server.probes.path_record import PathRecord

_RANK = {state: rank for rank, state in enumerate(path_record.STATES)}


class AgentPaths(NamedTuple):
    """Agent, and the records of its paths in the order of the classes."""

    agent: AgentTunnel
    records: Sequence[PathRecord]

    @property
    def worst(self) -> PathRecord:
        """Record of the path in the worst state, the oldest of several."""
        return min(self.records, key=lambda each: (_RANK[each.state], each.since))


async def listed(prober: PathProber, request: Request, now: float) -> Response:
    """Return the rows that a request asks for.

    Raises:
        BadQuery: `sort` or `limit` has a value that is not allowed.

    """
    query = query_of(request, _KEYS, "state")
    items = [AgentPaths(agent, records) for agent, records in prober.records().items()]
    found = await choose(items, _KEYS, query, lambda item: _text(prober, item))
    head = {**query.head(found), "classes": classes(prober)}
    return await written(head, "paths", found.items, _row_of(prober, now))


def classes(prober: PathProber) -> list[dict[str, Any]]:
    """Return the classes of probes as JSON fields."""
    return [
        {"name": each.name, "target": f"{each.host}:{each.port}", "kind": each.kind, "detail": each.detail}
        for each in prober.classes
    ]


def counts(prober: PathProber) -> dict[str, int]:
    """Return the number of paths by state."""
    found: Counter[str] = Counter()
    for (_, state), count in prober.counts().items():
        found[state] += count
    return {state: found[state] for state in path_record.STATES}


def conditions(prober: PathProber | None) -> list[dict[str, Any]]:
    """Return the conditions of the data plane; without probes their status is unknown."""
    if prober is not None:
        return [prober.data_plane.condition()]
    text = "the server has no --probe"
    return [{"type": data_plane.TYPE, "status": data_plane.UNKNOWN, "reason": "NoProbes", "message": text}]


def _row_of(prober: PathProber, now: float) -> Callable[[AgentPaths], dict[str, Any]]:
    wall = time.clock_gettime(time.CLOCK_REALTIME)
    names = [each.name for each in prober.classes]

    def row(item: AgentPaths) -> dict[str, Any]:
        return {
            "agent": item.agent.agent_id,
            "peer": item.agent.stream.peer.name,
            "state": item.worst.state,
            "since": round(now - item.worst.since, 3),
            "paths": {name: path_of(each, now, wall) for name, each in zip(names, item.records, strict=True)},
        }

    return row


def path_of(record: PathRecord, now: float, wall: float) -> dict[str, Any]:
    """Return one path as JSON fields. Times are in seconds; the moment is `now`, and `wall` since 1970."""
    fault, certificate = record.fault, record.certificate
    return {
        "state": record.state,
        "target": record.target or None,
        "reason": None if fault is None else fault.reason,
        "layer": None if fault is None else fault.layer,
        "text": None if fault is None else fault.text,
        "since": round(now - record.since, 3),
        "probed_ago": None if record.probed_at is None else round(now - record.probed_at, 3),
        "probes": record.probes,
        "seconds": {hop: round(seconds, 6) for hop, seconds in record.seconds.items()},
        "certificate": None
        if certificate is None
        else {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "expires_in": round(certificate.not_after - wall),
        },
    }


def _text(prober: PathProber, item: AgentPaths) -> str:
    """Return the text in which a filter looks for its words."""
    parts = [item.agent.agent_id, item.agent.stream.peer.name]
    for probe, record in zip(prober.classes, item.records, strict=True):
        parts += [probe.name, record.state, record.target, *(record.fault or ())]
    return "\n".join(parts)


_KEYS: Keys[AgentPaths] = {
    "state": lambda item: item.worst.state,
    "agent": lambda item: item.agent.agent_id,
    "since": lambda item: -item.worst.since,
}

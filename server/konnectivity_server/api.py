"""JSON about a running server, on its admin port: who is connected, and where a dial would go. Reads, changes nothing.

/api/v1/agents                         the agents: who, since when, what they carry, whether they answer
/api/v1/peers                          the other servers, and whether they take dials
/api/v1/route?destination=HOST:PORT    which agent would be asked, and what was against the others
"""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING, Any

from konnectivity.destination import host_of
from konnectivity.http import Request, Response, Routes
from konnectivity_server import strategies
from konnectivity_server.agents import AgentTunnel
from konnectivity_server.peers import PeerTunnel

if TYPE_CHECKING:
    from konnectivity_server.app import Server

MAX_LISTED = 20  # agents of one strategy in an explanation


def routes(server: Server) -> Routes:
    """The paths and what they answer."""
    return {
        "/api/v1/agents": lambda request: _json([agent_of(each) for each in server.registry.all()]),
        "/api/v1/peers": lambda request: _json(peers_of(server)),
        "/api/v1/route": lambda request: _route(server, request),
    }


def agent_of(agent: AgentTunnel) -> dict[str, Any]:
    """What there is to know about one agent's tunnel. Times in seconds."""
    names = agent.identifiers
    identifiers = {"ipv4": names.ipv4, "ipv6": names.ipv6, "host": names.host, "cidr": names.cidr}
    heard_at = agent.stream.heard_at
    return {
        "id": agent.agent_id,
        "peer": agent.stream.peer.name,
        "credential": agent.holder,
        "identifiers": {kind: values for kind, values in identifiers.items() if values},
        "default_route": names.default_route,
        "connected_for": round(monotonic() - agent.connected_at, 3),
        "heard_ago": None if heard_at is None else round(monotonic() - heard_at, 3),
        "round_trip": agent.stream.round_trip_s,
        "dial_latency": round(agent.dial_latency_s, 6),
        "connections": len(agent.links),
        "pending_dials": len(agent.pending),
        "buffered_bytes": agent.buffered,
        "load": round(agent.load, 6),
        "extension": agent.capabilities is not None,
        "state": state_of(agent),
    }


def peers_of(server: Server) -> list[dict[str, Any]]:
    """The servers that this one can dial through. Times in seconds."""
    peers = server.replicas.peers
    return [
        {
            "id": each.server_id,
            "peer": each.stream.peer.name,
            "connected_for": round(monotonic() - each.connected_at, 3),
            "round_trip": each.stream.round_trip_s,
            "connections": len(each.links),
            "pending_dials": len(each.pending),
            "state": state_of(each) if each.ready else "without agents",
        }
        for each in (peers.tunnels.values() if peers is not None else ())
    ]


def state_of(agent: AgentTunnel | PeerTunnel) -> str:
    """Why an agent is not asked, or `ready`."""
    if agent.suspect:
        return "silent"
    if agent.draining:
        return "draining"
    if isinstance(agent, AgentTunnel) and agent.duplicate:
        return "duplicate"
    return "full" if agent.exhausted else "ready"


def explain(server: Server, destination: str) -> dict[str, Any]:
    """How a destination finds its agent: each strategy in turn, up to the one that decides."""
    steps: list[dict[str, Any]] = []
    chosen = None
    for name in server.strategies:
        allowed = strategies.candidates(name, server.registry, destination)
        ready = [each for each in allowed if state_of(each) == "ready"]
        steps.append(
            {
                "strategy": name,
                "agents": len(allowed),
                "ready": len(ready),
                "listed": [
                    {"id": each.agent_id, "state": state_of(each), "load": round(each.load, 6)}
                    for each in sorted(allowed, key=lambda each: each.load)[:MAX_LISTED]
                ],
            }
        )
        if ready:
            chosen = name
            break
    if chosen is not None:
        verdict = "the lighter of two agents drawn at random from the ready ones of this strategy"
    elif server.replicas.usable:
        ready_peers = [each["id"] for each in peers_of(server) if each["state"] == "ready"]
        verdict = f"no agent here is ready: other servers are asked, {', '.join(ready_peers)}"
    elif any(step["agents"] for step in steps):
        verdict = "no agent is ready: one that drains, is full or silent is asked all the same"
    else:
        verdict = "no agent: the dial is refused with 'No agent available'"
    return {
        "destination": destination,
        "host": host_of(destination),
        "decided_by": chosen,
        "verdict": verdict,
        "strategies": steps,
        "peers": peers_of(server),
    }


def _route(server: Server, request: Request) -> Response:
    destination = request.value("destination")
    if not destination:
        return _json({"error": "say which: /api/v1/route?destination=HOST:PORT"}, 400)
    return _json(explain(server, destination))


def _json(value: object, status: int = 200) -> Response:
    body = json.dumps(value, indent=2).encode() + b"\n"
    return Response(status, {"Content-Type": "application/json"}, body)

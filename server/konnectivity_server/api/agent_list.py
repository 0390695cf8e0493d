"""Agent and peer lists of the admin API: state, traffic and latency of each tunnel.

/api/v1/agents returns a list of all agents. With an order, a limit or a match it returns an object with some of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from konnectivity.http1.handlers import Request, Response
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.api.list_queries import LINE, Keys, answer, choose, query_of, rows_of, written
from konnectivity_server.api.server_view import ServerView

if TYPE_CHECKING:
    from konnectivity_server.peers.peer_tunnel import PeerTunnel


async def agents(view: ServerView, request: Request) -> Response:
    """Return the agents that a request asks for: all of them, unless it has an order, a limit or a match.

    Raises:
        BadQuery: `sort` or `limit` has a value that is not allowed.

    """
    if not any(request.asks(key) for key in ("limit", "sort", "match")):
        return await _all_agents(view)
    query = query_of(request, _KEYS, "state")
    found = await choose(list(view.registry.all()), _KEYS, query, _text)
    now = view.clock()
    return await written(query.head(found), "agents", found.items, lambda agent: agent_of(agent, now))


async def _all_agents(view: ServerView) -> Response:
    """Return the list of all agents, one per line."""
    now = view.clock()
    rows = [text async for text in rows_of(list(view.registry.all()), lambda agent: agent_of(agent, now))]
    return answer(f"[{LINE.join(rows)}]\n".encode())


def agent_of(agent: AgentTunnel, now: float) -> dict[str, Any]:
    """Return one agent as JSON fields, at a moment on the monotonic clock. Times are in seconds."""
    names = agent.identifiers
    identifiers = {"ipv4": names.ipv4, "ipv6": names.ipv6, "host": names.host, "cidr": names.cidr}
    heard_at = agent.stream.heard_at
    return {
        "id": agent.agent_id,
        "peer": agent.stream.peer.name,
        "credential": agent.holder,
        "identifiers": {kind: values for kind, values in identifiers.items() if values},
        "default_route": names.default_route,
        "connected_for": round(now - agent.connected_at, 3),
        "heard_ago": None if heard_at is None else round(now - heard_at, 3),
        "round_trip": agent.stream.round_trip_s,
        "dial_latency": round(agent.dial_latency_s, 6),
        "connections": len(agent.connections),
        "pending_dials": agent.unanswered,
        "buffered_bytes": agent.memory.used,
        "load": round(agent.load, 6),
        "extension": agent.extension is not None,
        "state": state_of(agent),
    }


def peers_of(view: ServerView) -> list[dict[str, Any]]:
    """Return the servers through which this one can dial. Times are in seconds."""
    now = view.clock()
    return [
        {
            "id": each.server_id,
            "peer": each.stream.peer.name,
            "connected_for": round(now - each.connected_at, 3),
            "round_trip": each.stream.round_trip_s,
            "connections": len(each.connections),
            "pending_dials": each.unanswered,
            "state": state_of(each) if each.ready else "without agents",
        }
        for each in view.peer_tunnels
    ]


def state_of(agent: AgentTunnel | PeerTunnel) -> str:
    """Return `ready`, or the reason why a dial asks other agents first."""
    if agent.suspect:
        return "silent"
    if agent.draining:
        return "draining"
    if isinstance(agent, AgentTunnel) and agent.duplicate:
        return "duplicate"
    if isinstance(agent, AgentTunnel) and agent.declining:
        return "declining"
    return "full" if agent.exhausted else "ready"


def _text(agent: AgentTunnel) -> str:
    """Return the text in which a filter looks for its words."""
    names = agent.identifiers
    return "\n".join((agent.agent_id, agent.stream.peer.name, *names.addresses, *names.cidr, state_of(agent)))


_KEYS: Keys[AgentTunnel] = {
    "state": state_of,
    "id": lambda agent: agent.agent_id,
    "peer": lambda agent: agent.stream.peer.name,
    "connected_for": lambda agent: -agent.connected_at,
    "heard_ago": lambda agent: None if agent.stream.heard_at is None else -agent.stream.heard_at,
    "round_trip": lambda agent: agent.stream.round_trip_s,
    "dial_latency": lambda agent: agent.dial_latency_s,
    "connections": lambda agent: len(agent.connections),
    "pending_dials": lambda agent: agent.unanswered,
    "buffered_bytes": lambda agent: agent.memory.used,
    "load": lambda agent: agent.load,
}

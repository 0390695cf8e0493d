"""JSON about a running server, on its admin port: who is connected, and where a dial would go. Reads, changes nothing.

/api/v1/overview                       the server at a glance, with the last minutes and what went wrong
/api/v1/agents                         the agents: who, since when, what they carry, whether they answer
/api/v1/connections                    the connections: where to, how much, whether they move
/api/v1/peers                          the other servers, and whether they take dials
/api/v1/route?destination=HOST:PORT    which agent would be asked, and what was against the others
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from konnectivity.http1.handlers import Later, Request, Response, Routes
from konnectivity.net.addresses import host_of
from konnectivity_server import strategies
from konnectivity_server.api import agent_list, connection_list, overview
from konnectivity_server.api.agent_list import peers_of, state_of
from konnectivity_server.api.list_queries import BadQuery, answer

if TYPE_CHECKING:
    from konnectivity_server.server_app import ProxyServer

MAX_LISTED = 20  # agents of one strategy in an explanation


def routes(server: ProxyServer) -> Routes:
    """The paths and what they answer."""
    return {
        "/api/v1/overview": lambda request: _overview(server, request),
        "/api/v1/agents": lambda request: _agents(server, request),
        "/api/v1/connections": lambda request: server.answer(request, lambda: connection_list.listed(server, request)),
        "/api/v1/peers": lambda request: _json(peers_of(server)),
        "/api/v1/route": lambda request: _route(server, request),
    }


def explain(server: ProxyServer, destination: str) -> dict[str, Any]:
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


def _route(server: ProxyServer, request: Request) -> Response:
    destination = request.value("destination")
    if not destination:
        return _json({"error": "say which: /api/v1/route?destination=HOST:PORT"}, 400)
    return _json(explain(server, destination))


def _agents(server: ProxyServer, request: Request) -> Later:
    if any(request.asks(key) for key in ("limit", "sort", "match")):
        return server.answer(request, lambda: agent_list.agents(server, request))
    return server.answer(request, lambda: agent_list.all_agents(server))


def _overview(server: ProxyServer, request: Request) -> Response:
    try:
        return answer(json.dumps(overview.of(server, request)).encode() + b"\n")
    except BadQuery as error:
        return _json({"error": str(error)}, 400)


async def answered(work: Callable[[], Awaitable[Response]]) -> Response:
    """Return the answer of `work`, or the one to a query that cannot be understood."""
    try:
        return await work()
    except BadQuery as error:
        return _json({"error": str(error)}, 400)


def _json(value: object, status: int = 200) -> Response:
    return answer(json.dumps(value, indent=2).encode() + b"\n", status)

"""Routes of the admin API: JSON about a running server. Reads only.

/api/v1/overview                       state of the server, traffic of the last minutes, recent problems
/api/v1/agents                         agents: address, credential, traffic, state
/api/v1/connections                    connections: destination, amounts, stalls
/api/v1/peers                          peer servers, and whether they take dials
/api/v1/paths                          paths: state, reason and times of each class of probes through each agent
/api/v1/conditions                     condition of the data plane, in the form of Kubernetes
/api/v1/route?destination=HOST:PORT    the agents that a dial would choose from, and the state of the others
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from konnectivity.http1.handlers import Later, Request, Response, Routes
from konnectivity.net.addresses import host_of
from konnectivity_server import strategies
from konnectivity_server.api import agent_list, connection_list, overview
from konnectivity_server.api.agent_list import peers_of, state_of
from konnectivity_server.api.list_queries import BadQuery, answer
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.shared_answers import SharedAnswers

MakeLater = Callable[[Request, Callable[[], Awaitable[Response]]], Later]

PATHS = tuple(
    f"/api/v1/{name}" for name in ("overview", "agents", "connections", "peers", "paths", "conditions", "route")
)
MAX_LISTED = 20  # agents of one strategy in an explanation


def routes(view: ServerView, answers: SharedAnswers) -> Routes:
    """Return the handler of each path of the API."""

    def later(request: Request, make: Callable[[], Awaitable[Response]]) -> Later:
        return answers.get((request.path, request.query), request.arrived, lambda: _answered(make))

    return {
        "/api/v1/overview": lambda request: _overview(view, request),
        "/api/v1/agents": lambda request: later(request, lambda: agent_list.agents(view, request)),
        "/api/v1/connections": lambda request: later(request, lambda: connection_list.listed(view, request)),
        "/api/v1/peers": lambda request: _json(peers_of(view)),
        "/api/v1/paths": lambda request: _paths(view, request, later),
        "/api/v1/conditions": lambda request: _conditions(view),
        "/api/v1/route": lambda request: _route(view, request),
    }


def _paths(view: ServerView, request: Request, later: MakeLater) -> Later | Response:
    prober = view.prober
    if prober is None:
        return _json({"error": "the server has no --probe"}, 404)
    from konnectivity_server.api import path_list

    return later(request, lambda: path_list.listed(prober, request, view.clock()))


def _conditions(view: ServerView) -> Response:
    from konnectivity_server.api import path_list

    return _json({"conditions": path_list.conditions(view.prober)})


def explain(view: ServerView, destination: str) -> dict[str, Any]:
    """Return how a dial to a destination chooses its agent: each strategy in turn, up to the one that decides."""
    steps: list[dict[str, Any]] = []
    chosen = None
    for name in view.strategies:
        allowed = strategies.candidates(name, view.registry, destination)
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
    elif view.peers is not None and view.peers.usable:
        ready_peers = [each["id"] for each in peers_of(view) if each["state"] == "ready"]
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
        "peers": peers_of(view),
    }


def _route(view: ServerView, request: Request) -> Response:
    destination = request.value("destination")
    if not destination:
        return _json({"error": "say which: /api/v1/route?destination=HOST:PORT"}, 400)
    return _json(explain(view, destination))


def _overview(view: ServerView, request: Request) -> Response:
    try:
        return answer(json.dumps(overview.of(view, request)).encode() + b"\n")
    except BadQuery as error:
        return _json({"error": str(error)}, 400)


async def _answered(make: Callable[[], Awaitable[Response]]) -> Response:
    """Return the answer that `make` makes, or status 400 if the query is wrong."""
    try:
        return await make()
    except BadQuery as error:
        return _json({"error": str(error)}, 400)


def _json(value: object, status: int = 200) -> Response:
    return answer(json.dumps(value, indent=2).encode() + b"\n", status)

"""/api/v1/connections: the connections through this server, and which of them do not move."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from konnectivity.http1.handlers import Request, Response
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.states import State
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.api.list_queries import Keys, Row, choose, query_of, written
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.traffic_samples import Stalls
from konnectivity_server.peers.peer_servers import PeerTunnel

Item = tuple[DialingTunnel, Connection]

DEFAULT_SORT = "-stalled_for"
_STATES = {State.OPEN: "open", State.SENT_END: "half-closed", State.RCVD_END: "half-closed"}


def _all(view: ServerView) -> Iterator[Item]:
    """Yield each connection with its tunnel, one tunnel at a time."""
    for tunnel in view.tunnels:
        for link in list(tunnel.connections.values()):
            yield tunnel, link


async def listed(view: ServerView, request: Request) -> Response:
    """Return the connections that a request asks for.

    Raises:
        BadQuery: `sort` or `limit` has a value that is not allowed.

    """
    stalls = view.sampler.stalls
    keys = _keys(stalls)
    query = query_of(request, keys, DEFAULT_SORT)
    found = await choose(_all(view), keys, query, lambda item: _text(item, stalls))
    alive = [item for item in found.items if not item[1].closed]
    return await written(query.head(found), "connections", alive, lambda item: row(item, stalls))


def row(item: Item, stalls: Stalls) -> Row:
    """One connection. Times in seconds, bytes of payload."""
    tunnel, link = item
    now = monotonic()
    stall = stalls.of(link, now)
    return {
        "agent": _agent(tunnel),
        "server": _server(tunnel),
        "id": link.connect_id,
        "origin": link.origin,
        "destination": link.destination,
        "age": round(max(0.0, now - link.opened_at), 3),
        "bytes_to_destination": link.outbound.sent,
        "bytes_from_destination": link.inbound.received,
        "buffered_bytes": link.outbound.queued + link.inbound.backlog,
        "state": _state(link, stalls, now),
        "stalled_side": None if stall is None else stall.side,
        "stalled_for": None if stall is None else round(stall.seconds, 3),
    }


def _agent(tunnel: DialingTunnel) -> str | None:
    return tunnel.agent_id if isinstance(tunnel, AgentTunnel) else None


def _server(tunnel: DialingTunnel) -> str | None:
    return tunnel.server_id if isinstance(tunnel, PeerTunnel) else None


def _state(link: Connection, stalls: Stalls, now: float) -> str:
    return "stalled" if stalls.of(link, now) is not None else _STATES.get(link.state, "closing")


def _text(item: Item, stalls: Stalls) -> str:
    """What a filter looks for its text in."""
    tunnel, link = item
    who = _agent(tunnel) or _server(tunnel)
    return f"{who}\n{link.origin}\n{link.destination}\n{_state(link, stalls, monotonic())}"


def _keys(stalls: Stalls) -> Keys[Item]:
    """What a list can be sorted by: the fields of a row."""
    now = monotonic()

    def stalled_for(item: Item) -> float | None:
        stall = stalls.of(item[1], now)
        return None if stall is None else stall.seconds

    return {
        "stalled_for": stalled_for,
        "agent": lambda item: _agent(item[0]),
        "server": lambda item: _server(item[0]),
        "id": lambda item: item[1].connect_id,
        "origin": lambda item: item[1].origin,
        "destination": lambda item: item[1].destination,
        "age": lambda item: now - item[1].opened_at,
        "bytes_to_destination": lambda item: item[1].outbound.sent,
        "bytes_from_destination": lambda item: item[1].inbound.received,
        "buffered_bytes": lambda item: item[1].outbound.queued + item[1].inbound.backlog,
        "state": lambda item: _state(item[1], stalls, now),
    }

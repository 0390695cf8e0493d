"""Connection list of the admin API: rows about the connections through this server, and which of them are stalled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from konnectivity.http1.handlers import Request, Response
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.states import State
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.api.list_queries import Keys, Row, choose, query_of, written
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.stalls import Stalls

if TYPE_CHECKING:
    from konnectivity_server.peers.peer_tunnel import PeerTunnel

Item = tuple[DialingTunnel, Connection]

DEFAULT_SORT = "-stalled_for"
_STATES = {State.OPEN: "open", State.SENT_END: "half-closed", State.RCVD_END: "half-closed"}


class ConnectionRows:
    """Rows, sort keys and texts of the connections, at one moment.

    Args:
        stalls: tells which connections are stalled.
        now: the moment, in monotonic seconds.

    """

    def __init__(self, stalls: Stalls, now: float) -> None:
        self._stalls = stalls
        self._now = now

    def keys(self) -> Keys[Item]:
        """Return the fields by which a list can be sorted."""
        return {
            "stalled_for": self._stalled_for,
            "agent": lambda item: _agent(item[0]),
            "server": lambda item: _server(item[0]),
            "id": lambda item: item[1].connect_id,
            "origin": lambda item: item[1].origin,
            "destination": lambda item: item[1].destination,
            "age": lambda item: self._now - item[1].opened_at,
            "bytes_to_destination": lambda item: item[1].outbound.sent,
            "bytes_from_destination": lambda item: item[1].inbound.received,
            "buffered_bytes": lambda item: item[1].outbound.queued + item[1].inbound.backlog,
            "state": lambda item: self._state(item[1]),
        }

    def text(self, item: Item) -> str:
        """Return the text in which a filter looks for its words."""
        tunnel, connection = item
        far_end = _agent(tunnel) or _server(tunnel)
        return f"{far_end}\n{connection.origin}\n{connection.destination}\n{self._state(connection)}"

    def row(self, item: Item) -> Row:
        """Return one connection as JSON fields: times in seconds, amounts in bytes of payload."""
        tunnel, connection = item
        stall = self._stalls.of(connection, self._now)
        return {
            "agent": _agent(tunnel),
            "server": _server(tunnel),
            "id": connection.connect_id,
            "origin": connection.origin,
            "destination": connection.destination,
            "age": round(max(0.0, self._now - connection.opened_at), 3),
            "bytes_to_destination": connection.outbound.sent,
            "bytes_from_destination": connection.inbound.received,
            "buffered_bytes": connection.outbound.queued + connection.inbound.backlog,
            "state": self._state(connection),
            "stalled_side": None if stall is None else stall.side,
            "stalled_for": None if stall is None else round(stall.seconds, 3),
        }

    def _stalled_for(self, item: Item) -> float | None:
        stall = self._stalls.of(item[1], self._now)
        return None if stall is None else stall.seconds

    def _state(self, connection: Connection) -> str:
        if self._stalls.of(connection, self._now) is not None:
            return "stalled"
        return _STATES.get(connection.state, "closing")


async def listed(view: ServerView, request: Request) -> Response:
    """Return the connections that a request asks for.

    Raises:
        BadQuery: `sort` or `limit` has a value that is not allowed.

    """
    rows = ConnectionRows(view.sampler.stalls, view.clock())
    keys = rows.keys()
    query = query_of(request, keys, DEFAULT_SORT)
    found = await choose(_all(view), keys, query, rows.text)
    alive = [item for item in found.items if not item[1].closed]
    return await written(query.head(found), "connections", alive, rows.row)


def _all(view: ServerView) -> Iterator[Item]:
    """Yield each connection with its tunnel, one tunnel at a time."""
    for tunnel in view.tunnels:
        for connection in list(tunnel.connections.values()):
            yield tunnel, connection


def _agent(tunnel: DialingTunnel) -> str | None:
    return tunnel.agent_id if isinstance(tunnel, AgentTunnel) else None


def _server(tunnel: DialingTunnel) -> str | None:
    return None if isinstance(tunnel, AgentTunnel) else cast("PeerTunnel", tunnel).server_id

"""Records of the audit log about one dial: who asked for which destination, which backend answered, how it ended. Pure.

Makes the records of docs/secure/audit.md. Knows neither the time nor where the records are written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from konnectivity.errors import REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.states import CAUSES
from konnectivity_server.agents.agent_tunnel import AgentTunnel

VERSION = 1
EVENTS = ("dialled", "refused", "closed", "dropped")
POLICY = DialFailure.POLICY.value
REFUSED_CAUSES = tuple(each.value for each in DialFailure)
CLOSED_CAUSES = CAUSES
SIDES = tuple(sides.NAMES.values())

Record = dict[str, Any]
Write = Callable[[Record], None]


class DialRecord:
    """Audit record of one dial: `refused`, or `dialled` and later `closed`.

    Args:
        write: takes each record.
        running: dial records of the connections that are open; this one enters and leaves them.
        clock: seconds, monotonic.
        connection: id of the dial, unique among all servers.
        destination, protocol: address that the client asked for, and its network.
        client: the client.
        relayed: whether another server asked, for a client of its own.
        asked_for: name that the client asked for, where this server resolved it to the address; else empty.

    """

    __slots__ = ("_asked", "_began", "_clock", "_connection", "_over", "_running", "_through", "_write")

    def __init__(
        self,
        write: Write,
        running: dict[DialRecord, None],
        clock: Callable[[], float],
        connection: str,
        destination: str,
        protocol: str,
        client: Peer,
        relayed: bool,
        asked_for: str = "",
    ) -> None:
        self._write = write
        self._running = running
        self._connection: Connection | None = None
        self._clock = clock
        self._began = clock()
        self._over = False
        self._through: Record = {}
        self._asked: Record = {
            "connection": connection,
            "client": client_of(client),
            "relayed": relayed,
            "protocol": protocol,
            "destination": destination,
        }
        if asked_for:
            self._asked["asked_for"] = asked_for

    def asking(self, tunnel: DialingTunnel) -> None:
        """Note that an agent or a peer server is asked, instead of the last one."""
        self._through = backend_of(tunnel)

    def declined(self, error: DialError) -> None:
        """Record nothing: the record of a dial names the last backend only."""

    def dialled(self, connection: Connection) -> None:
        """Record the connection now, and its end later."""
        if not self._over:
            self._over = True
            self._put("dialled", {"agent_connection": connection.connect_id})
            self._began = self._clock()
            self._connection = connection
            self._running[self] = None
            connection.call_when_closed(self._closed)

    def refused(self, error: DialError) -> None:
        """Record that there is no connection, and why."""
        if not self._over:
            self._over = True
            self._put("refused", {"cause": cause_of(error), "reason": str(error)})

    def cut(self, reason: str) -> None:
        """Record the end of an open connection, because the server ends first."""
        if self._connection is not None and self in self._running:
            self._end(self._connection, "tunnel_lost", "server", reason)

    def _closed(self, connection: Connection) -> None:
        if self in self._running:
            side = sides.name_of(connection.blamed)
            self._end(connection, connection.cause, side, connection.reason or "both sides ended")

    def _end(self, connection: Connection, cause: str, side: str, reason: str) -> None:
        self._running.pop(self, None)
        self._put(
            "closed",
            {
                "agent_connection": connection.connect_id,
                "bytes_to_destination": connection.outbound.sent,
                "bytes_from_destination": connection.inbound.received,
                "cause": cause,
                "side": side,
                "reason": reason,
            },
        )

    def _put(self, event: str, more: Record) -> None:
        seconds = round(self._clock() - self._began, 6)
        self._write({"event": event, **self._asked, **self._through, "seconds": seconds, **more})


def cause_of(error: DialError) -> str:
    """Return the kind of a dial's failure; a refusal by the agent's policy is a kind of its own."""
    policy = error.failure is DialFailure.ENDPOINT and REFUSED_BY_POLICY in str(error)
    return POLICY if policy else error.failure.value


def client_of(peer: Peer) -> Record:
    """Return the client: its address, and what is known of its process, certificate, user, token and frontend."""
    found: Record = {"address": peer.address}
    if peer.process is not None:
        found |= peer.process._asdict()
    if peer.common_name:
        found["certificate"] = peer.common_name
    if peer.user:
        found["user"] = peer.user
    if peer.token_sha256:
        found["token_sha256"] = peer.token_sha256.hex()
    if peer.frontend:
        found["frontend"] = peer.frontend
    return found


def backend_of(tunnel: DialingTunnel) -> Record:
    """Return the agent or the peer server at the far end of a tunnel."""
    peer = tunnel.stream.peer
    certificate = {"certificate": peer.common_name} if peer.common_name else {}
    if isinstance(tunnel, AgentTunnel):
        user = {"user": tunnel.user} if tunnel.user else {}
        return {"agent": {"id": tunnel.agent_id, "address": peer.address, **certificate, **user}}
    return {"peer": {**tunnel.log_fields, "address": peer.address, **certificate}}

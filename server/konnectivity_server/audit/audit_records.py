"""What there is to record of each dial: who asked for what, who answered, what became of it. Pure.

Makes the records of docs/secure/audit.md. Does not know when it is, nor where they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from konnectivity.errors import REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import CAUSES, Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity_server.agents.agent_tunnel import AgentTunnel

VERSION = 1
EVENTS = ("dialled", "refused", "closed", "dropped")
POLICY = "policy"
REFUSED_CAUSES = (POLICY, *(each.value for each in DialFailure))
CLOSED_CAUSES = CAUSES
SIDES = tuple(sides.NAMES.values())
CANCELLED = DialError(DialFailure.CANCELLED, "the client left before there was an answer")

Record = dict[str, Any]
Write = Callable[[Record], None]


class Trail:
    """The records of one dial: `refused`, or `dialled` and later `closed`.

    Args:
        write: takes a record.
        running: the trails of connections that are open now; this one joins and leaves.
        clock: seconds, monotonic.
        connection: the dial's own id.
        destination, protocol: what was asked for.
        client: who asked.
        relayed: another server asked, for a client of its own.

    """

    __slots__ = ("_asked", "_began", "_clock", "_link", "_over", "_running", "_through", "_write")

    def __init__(
        self,
        write: Write,
        running: set[Trail],
        clock: Callable[[], float],
        connection: str,
        destination: str,
        protocol: str,
        client: Peer,
        relayed: bool,
    ) -> None:
        self._write = write
        self._running = running
        self._link: Connection | None = None
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

    def asking(self, tunnel: DialingTunnel) -> None:
        """An agent, or another server, is asked now."""
        self._through = through(tunnel)

    def dialled(self, link: Connection) -> None:
        """There is a connection; what becomes of it is recorded at its end."""
        if not self._over:
            self._over = True
            self._put("dialled", {"agent_connection": link.connect_id})
            self._began = self._clock()
            self._link = link
            self._running.add(self)
            link.on_close = self._closed

    def refused(self, error: DialError = CANCELLED) -> None:
        """There is none."""
        if not self._over:
            self._over = True
            text = str(error)
            policy = error.failure is DialFailure.ENDPOINT and REFUSED_BY_POLICY in text
            self._put("refused", {"cause": POLICY if policy else error.failure.value, "reason": text})

    def cut(self, reason: str) -> None:
        """The server ends before the connection did."""
        if self._link is not None and self in self._running:
            self._end(self._link, "tunnel_lost", "server", reason)

    def _closed(self, link: Connection) -> None:
        if self in self._running:
            side = sides.name_of(link.blamed)
            self._end(link, link.cause, side, link.reason or "both sides ended")

    def _end(self, link: Connection, cause: str, side: str, reason: str) -> None:
        self._running.discard(self)
        self._put(
            "closed",
            {
                "agent_connection": link.connect_id,
                "bytes_to_destination": link.sent,
                "bytes_from_destination": link.received,
                "cause": cause,
                "side": side,
                "reason": reason,
            },
        )

    def _put(self, event: str, more: Record) -> None:
        seconds = round(self._clock() - self._began, 6)
        self._write({"event": event, **self._asked, **self._through, "seconds": seconds, **more})


def client_of(peer: Peer) -> Record:
    """Who asked: the process behind a unix socket, as the kernel has it, or the address and the certificate's name."""
    found: Record = {"address": peer.address}
    if peer.process is not None:
        found |= peer.process._asdict()
    if peer.common_name:
        found["certificate"] = peer.common_name
    return found


def through(tunnel: DialingTunnel) -> Record:
    """Which agent, or which other server."""
    peer = tunnel.stream.peer
    certificate = {"certificate": peer.common_name} if peer.common_name else {}
    if isinstance(tunnel, AgentTunnel):
        user = {"user": tunnel.user} if tunnel.user else {}
        return {"agent": {"id": tunnel.agent_id, "address": peer.address, **certificate, **user}}
    return {"peer": {**tunnel.log_fields, "address": peer.address, **certificate}}

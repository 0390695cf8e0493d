"""AgentService: admission of agents' streams, and the registration of each as a backend.

Owns admission, registration and the counts of both. Does not know how a credential is verified, nor how a dial
chooses an agent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from konnectivity import wire
from konnectivity.grpc.message_stream import MessageStream, Peer, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.runtime import logs, task_guard
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.agents.agent_introduction import AgentIntroduction, introduction_of
from konnectivity_server.agents.agent_presence import AgentPresence
from konnectivity_server.agents.agent_tunnel import LINE_RATE, AgentTunnel
from konnectivity_server.agents.credential_identity import Account, holder
from konnectivity_server.recent_declines import RecentDeclines
from konnectivity_server.registry import Registry

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__, LINE_RATE)

PATH = "/AgentService/Connect"
SERVER_ID = "serverid"
SERVER_COUNT = "servercount"


class Authenticator(Protocol):
    """Decides whether an agent may register."""

    async def check(self, metadata: Metadata, peer: Peer) -> Account:
        """Return the authenticated account of the agent at `peer`.

        Raises:
            RpcError: the agent may not register.

        """


class ClaimVerification(Protocol):
    """Decides whether an agent may claim its identifiers."""

    async def check(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> None:
        """Accept the claims of an agent.

        Raises:
            RpcError: the agent's credential does not vouch for one of the claims.

        """


class Admission(StreamReceiver):
    """Receiver of an agent's stream until it is decided whether the agent may register."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._task: asyncio.Task[None] | None = None

    def decided_by(self, task: asyncio.Task[None]) -> None:
        """Cancel the task that decides if the stream closes before."""
        self._task = task

    def message_received(self, message: memoryview) -> None:
        """Refuse a packet that the agent sends too early."""
        self._stream.finish(Status(Code.FAILED_PRECONDITION, "a packet before the server accepted the call"))

    def stream_closed(self, status: Status) -> None:
        """Cancel the decision."""
        if self._task is not None:
            self._task.cancel()


class AgentService:
    """Service of the agents' streams.

    Args:
        registry: agents among which dials choose.
        options: settings and counters that all agents' tunnels share.
        server_id: id of this server, told to agents.
        server_count: returns the number of servers, told to agents.
        tasks: group in which admissions run.
        heartbeat_s: seconds of silence before an agent is pinged; 0: never.
        max_pending_dials: dials that one agent is asked for at one time.
        on_suspect: called with an agent that stopped answering.
        on_change: called when an agent registered, left, stopped answering or answers again.
        authenticator: reviews the agents' tokens; None: agents show none.
        verifier: verifies the agents' claims; None: agents may claim anything.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        registry: Registry[AgentTunnel],
        options: TunnelOptions,
        server_id: str,
        server_count: Callable[[], int],
        tasks: asyncio.TaskGroup,
        heartbeat_s: float,
        max_pending_dials: int,
        on_suspect: Callable[[AgentTunnel], object],
        on_change: Callable[[], object],
        authenticator: Authenticator | None = None,
        verifier: ClaimVerification | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.refused = 0  # agents that were not admitted
        self.fell_silent = 0  # times that a connected agent stopped answering
        self._registry = registry
        self._options = options
        self._server_id = server_id
        self._server_count = server_count
        self._tasks = tasks
        self._heartbeat_s = heartbeat_s
        self._max_pending_dials = max_pending_dials
        self._on_suspect = on_suspect
        self._on_change = on_change
        self._authenticator = authenticator
        self._verifier = verifier
        self._instance = secrets.token_hex(8)  # id of this process, independent of the server id
        self._presence = AgentPresence(clock)
        self._declines = RecentDeclines(clock)

    @property
    def conflicts(self) -> int:
        """Number of agents that came with the id of another one."""
        return self._presence.conflicts

    def departures(self) -> list[dict[str, Any]]:
        """Return the agents that left and did not return, the latest first."""
        return self._presence.departures()

    def connect(self, stream: MessageStream) -> StreamReceiver:
        """Admit the stream of an agent, now or after its credential is verified.

        Raises:
            RpcError: the agent's id or identifiers are missing, malformed or above a limit.

        """
        introduction = introduction_of(stream.metadata, self._options.reached)
        if self._authenticator is None and self._verifier is None:
            return self._admit(stream, introduction, None)
        admission = Admission(stream)
        admission.decided_by(
            task_guard.start(
                self._tasks,
                lambda: self._authenticate(stream, introduction),
                "admission",
                f"admission of {introduction.agent_id}",
                failed=lambda: self._failed(stream),
            )
        )
        return admission

    async def _authenticate(self, stream: MessageStream, introduction: AgentIntroduction) -> None:
        account = None
        try:
            if self._authenticator is not None:
                account = await self._authenticator.check(stream.metadata, stream.peer)
            if self._verifier is not None:
                await self._verifier.check(introduction.agent_id, stream.peer, account, introduction.identifiers)
        except RpcError as error:
            self.refused += 1
            stream.receiver = None
            stream.finish(error.status)
            return
        stream.receiver = self._admit(stream, introduction, account)

    def _failed(self, stream: MessageStream) -> None:
        """End the call of an agent whose admission raised an unexpected exception."""
        stream.receiver = None
        stream.finish(Status(Code.INTERNAL, "internal error of the server"))

    def _admit(self, stream: MessageStream, introduction: AgentIntroduction, account: Account | None) -> AgentTunnel:
        tunnel = AgentTunnel(
            stream,
            self._options,
            introduction,
            account,
            self._presence.knows(introduction.agent_id, holder(stream.peer.certificate, account)),
            self,
            self._declines,
            self._heartbeat_s,
            self._max_pending_dials,
        )
        headers = {SERVER_ID: self._server_id, SERVER_COUNT: str(self._server_count())}
        tunnel.accept_call(headers, self._instance)
        tunnel.heartbeat.start()
        self._register(tunnel)
        return tunnel

    def _register(self, tunnel: AgentTunnel) -> None:
        agent_id, peer = tunnel.agent_id, tunnel.stream.peer.name
        self._registry.add(tunnel)
        other = self._presence.add(agent_id, tunnel.holder)
        if other is not None:
            text = "Two agents with one id"
            peer_log.warning(agent_id, text, agent=agent_id, peer=peer, credential=tunnel.holder, other=other)
        self._on_change()
        if log.v(_verbosity(tunnel)):
            user = {"user": tunnel.user} if tunnel.user else {}
            extension = tunnel.extension is not None
            peer_log.info(agent_id, "Agent connected", agent=agent_id, peer=peer, **user, extension=extension)

    # ---- AgentTunnelOwner -----------------------------------------------------------------------------------------

    def agent_suspected(self, tunnel: AgentTunnel) -> None:
        """Move the dials of an agent that stopped answering to other agents."""
        self.fell_silent += 1
        self._on_suspect(tunnel)
        self._on_change()

    def agent_recovered(self, tunnel: AgentTunnel) -> None:
        """Report that a suspected agent answers again."""
        self._on_change()

    def agent_closed(self, tunnel: AgentTunnel, status: Status) -> None:
        """Remove an agent whose stream ended."""
        peer, connections = tunnel.stream.peer, len(tunnel.connections)
        self._registry.remove(tunnel)
        self._on_change()
        self._presence.remove(
            tunnel.agent_id, tunnel.holder, peer=peer.name, reason=str(status), connections=connections
        )
        if log.v(_verbosity(tunnel)):
            peer_log.info(
                tunnel.agent_id,
                "Agent disconnected",
                agent=tunnel.agent_id,
                peer=peer.address,
                connections=connections,
                reason=str(status),
            )


def announce_server_count(registry: Registry[AgentTunnel], count: int) -> None:
    """Tell the number of servers to every agent that speaks the extension."""
    packet = wire.server_count(count)
    for agent in registry.all():
        if agent.extension is not None:
            agent.send_control(packet)


def _verbosity(tunnel: AgentTunnel) -> int:
    """Return the verbosity of the log lines about one stream: higher for another stream of a connected agent."""
    return 5 if tunnel.known else 0

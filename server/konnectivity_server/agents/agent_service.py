"""AgentService: one agent's stream, from its metadata to its end. Owns admission, registration and the heartbeat."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from konnectivity import wire
from konnectivity.grpc.message_stream import MessageStream, Peer, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.runtime import logs, task_guard
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import Caller, Dial, DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.heartbeat import Heartbeat, HeartbeatVerdict
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity.untrusted.agent_id import MAX_LENGTH, problem_of
from konnectivity_server.agents import agent_identifiers, credential_identity
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.agents.credential_identity import Account
from konnectivity_server.recent_declines import RecentDeclines
from konnectivity_server.recent_problems import RecentProblems
from konnectivity_server.registry import Registry

log = logs.get(__name__)
# A whole fleet may come anew at once: more lines about all agents together, and as few about each.
peer_log = logs.get_peer_log(__name__, logs.LineRate(per_message=5_000))

PATH = "/AgentService/Connect"
AGENT_ID = "agentid"
AGENT_IDENTIFIERS = "agentidentifiers"
SERVER_ID = "serverid"
SERVER_COUNT = "servercount"
LATE_DIAL_S = 1.0  # a dial without an answer for so long: is the agent still there?
SETTLED_S = 1.0  # an agent that meets a server it knows hangs up again, as soon as it sees that
ERROR_HALF_LIFE_S = 10.0  # a dial that failed counts like a connection at first, then half as much, ...
_LATENCY_WEIGHT = 0.2


class Authenticator(Protocol):
    """Decides whether an agent may register."""

    async def check(self, metadata: Metadata, peer: Peer) -> Account:
        """Return the account of the agent at `peer`.

        Raises:
            RpcError: it may not.

        """


class ClaimVerification(Protocol):
    """Decides whether an agent may claim what it claims."""

    async def check(self, agent_id: str, peer: Peer, account: Account | None, claimed: Identifiers) -> None:
        """Raises RpcError: it may not."""


class AgentTunnel(DialingTunnel):
    """The server's end of one agent's stream."""

    def __init__(
        self,
        stream: MessageStream,
        options: TunnelOptions,
        agent_id: str,
        names: Identifiers,
        account: Account | None,
        agents: AgentService,
    ) -> None:
        super().__init__(stream, options, sides.SERVER, sides.CLIENT)
        self.agent_id = agent_id
        self.identifiers = names
        self.user = account.user if account is not None else ""  # of its token
        self.holder = credential_identity.holder(stream.peer.certificate, account)
        self.log_fields = {"agent": agent_id}
        self.connected_at = monotonic()
        self.known = False  # another stream of this agent stood when this one came
        self.dial_latency_s = 0.0  # recent ones, smoothed
        self._errors = 0.0  # dials that it answered with an error, and when that was the count
        self._error_at = 0.0
        self.heartbeat = Heartbeat(stream, self.measure, agents.heartbeat_s, self._judged)
        self.most_pending = agents.max_pending_dials
        self._agents = agents
        self._late: asyncio.TimerHandle | None = None

    @property
    def suspect(self) -> bool:
        """Whether it seems to be gone: it answers no ping."""
        return self.heartbeat.verdict is not HeartbeatVerdict.ALIVE

    @property
    def duplicate(self) -> bool:
        """Whether it will be gone in a moment: the agent was looking for other servers, and found this one again."""
        return self.known and monotonic() - self.connected_at < SETTLED_S

    @property
    def declining(self) -> bool:
        """Return whether an agent of this connection declined a dial a moment ago."""
        return self._agents.declines.holds(self.stream.peer.address)

    @property
    def exhausted(self) -> bool:
        """Whether others should be asked: its connections' buffers are full, or it has too many dials to answer."""
        return self.buffers_full or len(self.pending) >= self.most_pending

    @property
    def load(self) -> float:
        """For choosing among agents: how much it does, times how long it takes to answer."""
        asked = len(self.pending) + len(self.queued)
        busy = 1 + len(self.connections) + 4 * asked + self._recent_errors()
        return busy * max(self.dial_latency_s, 0.0005)

    def dial(
        self, address: str, caller: Caller, timeout_s: float | None, protocol: str = "tcp", origin: str = ""
    ) -> Dial:
        dial = super().dial(address, caller, timeout_s, protocol, origin)
        if self._late is None:
            self._late = self._loop.call_later(LATE_DIAL_S, self._look_for_late_dials)
        return dial

    def declined(self) -> None:
        """Ask the agents of this connection after the others for a while: one of them declined a dial."""
        self._agents.declines.add(self.stream.peer.address)

    def settle(self, random: int) -> Dial | None:
        asked = random in self.pending
        dial = super().settle(random)
        if dial is not None and asked:
            took = monotonic() - dial.asked_at
            self.dial_latency_s += _LATENCY_WEIGHT * (took - self.dial_latency_s)
        return dial

    def _answered(self, random: int, connect_id: int, error: str) -> None:
        before = self.dial_latency_s
        super()._answered(random, connect_id, error)
        if error:  # who fails at once is neither fast nor idle: it would draw all dials to itself
            self.dial_latency_s = max(before, self.dial_latency_s)
            self._errors, self._error_at = self._recent_errors() + 1, monotonic()

    def _recent_errors(self) -> float:
        return self._errors * 0.5 ** ((monotonic() - self._error_at) / ERROR_HALF_LIFE_S) if self._errors else 0.0

    def stream_closed(self, status: Status) -> None:
        self.heartbeat.stop()
        if self._late is not None:
            self._late.cancel()
        self._agents.gone(self, status)
        super().stream_closed(status)

    def _look_for_late_dials(self) -> None:
        """One timer for all dials of the agent, and only while there are any."""
        self._late = None
        if not self.pending or self.closed:
            return
        oldest = next(iter(self.pending.values())).asked_at
        late = monotonic() - oldest
        if late >= LATE_DIAL_S and (self.stream.heard_at or 0.0) < oldest + LATE_DIAL_S / 2:
            self.heartbeat.probe()
        self._late = self._loop.call_later(LATE_DIAL_S, self._look_for_late_dials)

    def _judged(self, verdict: HeartbeatVerdict) -> None:
        if verdict is HeartbeatVerdict.DEAD:
            self.stream.abort("the agent answers no ping")
            return
        text = "Agent does not answer" if self.suspect else "Agent answers again"
        peer_log.warning(self.agent_id, text, agent=self.agent_id)
        if self.suspect:
            self._agents.suspected(self)
        self._agents.on_change()


class _Admission(StreamReceiver):
    """Receiver of an agent's stream while it is not decided whether it may register."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self.task: asyncio.Task[None] | None = None

    def message_received(self, message: memoryview) -> None:
        self._stream.finish(Status(Code.FAILED_PRECONDITION, "a packet before the server accepted the call"))

    def stream_drained(self) -> None:
        return

    def stream_closed(self, status: Status) -> None:
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class AgentService:
    """What the server tells every agent, and where it keeps them."""

    registry: Registry[AgentTunnel]
    options: TunnelOptions
    server_id: str
    server_count: Callable[[], int]
    tasks: asyncio.TaskGroup
    heartbeat_s: float
    max_pending_dials: int
    on_suspect: Callable[[AgentTunnel], object]  # called with an agent that stopped answering
    on_change: Callable[[], object]  # called when an agent registered, left, stopped answering or answers again
    authenticator: Authenticator | None = None
    verifier: ClaimVerification | None = None
    refused: int = 0
    instance: str = field(default_factory=lambda: secrets.token_hex(8))  # of this process, whatever its server id
    fell_silent: int = 0  # times that a connected agent stopped answering
    conflicts: int = 0  # agents that came with the id of another one
    streams_of: dict[str, dict[str, int]] = field(default_factory=dict)  # by agent id, and holder of the credential
    declines: RecentDeclines = field(default_factory=lambda: RecentDeclines(monotonic))
    left: RecentProblems = field(
        default_factory=lambda: RecentProblems(("id",), monotonic)
    )  # agents that went, and may be back

    def connect(self, stream: MessageStream) -> StreamReceiver:
        """Service of `PATH`.

        Raises:
            RpcError: the agent does not say who it is.

        """
        agent_id, names = self._introduced(stream.metadata)
        if self.authenticator is None and self.verifier is None:
            return self._admit(stream, agent_id, names, None)
        admission = _Admission(stream)
        admission.task = task_guard.start(
            self.tasks,
            lambda: self._authenticate(stream, agent_id, names),
            "admission",
            f"admission of {agent_id}",
            failed=lambda: self._failed(stream),
        )
        return admission

    def _introduced(self, metadata: Metadata) -> tuple[str, Identifiers]:
        """Return the agent's id and identifiers, or raise `RpcError` if they are malformed or exceed a limit."""
        agent_id, text = _introduction(metadata)
        if problem := problem_of(agent_id):
            if len(agent_id) > MAX_LENGTH:
                self.options.reached["agent_id_length"] += 1
            raise RpcError(Code.INVALID_ARGUMENT, problem)
        problem = agent_identifiers.over_limit(text)
        try:
            names = Identifiers() if problem else agent_identifiers.parse(text)
        except ValueError as error:
            raise RpcError(Code.UNKNOWN, f"agent identifiers cannot be decoded: {error}") from error
        problem = problem or agent_identifiers.refusal(names)
        if problem:
            self.options.reached["agent_identifiers"] += 1
            raise RpcError(Code.INVALID_ARGUMENT, problem)
        return agent_id, names

    async def _authenticate(self, stream: MessageStream, agent_id: str, names: Identifiers) -> None:
        account = None
        try:
            if self.authenticator is not None:
                account = await self.authenticator.check(stream.metadata, stream.peer)
            if self.verifier is not None:
                await self.verifier.check(agent_id, stream.peer, account, names)
        except RpcError as error:
            self.refused += 1
            stream.receiver = None
            stream.finish(error.status)
            return
        stream.receiver = self._admit(stream, agent_id, names, account)

    def _failed(self, stream: MessageStream) -> None:
        """End the call of an agent whose admission raised an unexpected exception."""
        stream.receiver = None
        stream.finish(Status(Code.INTERNAL, "internal error of the server"))

    def _admit(self, stream: MessageStream, agent_id: str, names: Identifiers, account: Account | None) -> AgentTunnel:
        tunnel = AgentTunnel(stream, self.options, agent_id, names, account, self)
        offer = Extension(self.options.ledger.initial_window, self.instance)
        answer = {SERVER_ID: self.server_id, SERVER_COUNT: str(self.server_count())}
        capabilities = Extension.of(stream.metadata) if self.options.extension else None
        stream.accept(answer | offer.header() if capabilities is not None else answer)
        tunnel.negotiated(capabilities)
        tunnel.heartbeat.start()
        self.registry.add(tunnel)
        self._count(tunnel)
        self.on_change()
        if log.v(_detail(tunnel)):
            who = {"user": tunnel.user} if tunnel.user else {}
            extension = tunnel.extension is not None
            introduced = {"agent": agent_id, "peer": stream.peer.name, **who}
            peer_log.info(agent_id, "Agent connected", **introduced, extension=extension)
        return tunnel

    def _count(self, tunnel: AgentTunnel) -> None:
        """Is it an agent that is here already, or another one that calls itself the same?"""
        streams = self.streams_of.setdefault(tunnel.agent_id, {})
        tunnel.known = tunnel.holder in streams
        if streams and not tunnel.known:
            self.conflicts += 1
            who = {"agent": tunnel.agent_id, "peer": tunnel.stream.peer.name}
            other = next(iter(streams))
            peer_log.warning(tunnel.agent_id, "Two agents with one id", **who, credential=tunnel.holder, other=other)
        streams[tunnel.holder] = streams.get(tunnel.holder, 0) + 1

    def departures(self) -> list[dict[str, Any]]:
        """Agents that are gone and did not come back, the latest first."""
        return [each for each in self.left.listed() if each["id"] not in self.streams_of]

    def suspected(self, tunnel: AgentTunnel) -> None:
        self.fell_silent += 1
        self.on_suspect(tunnel)

    def gone(self, tunnel: AgentTunnel, status: Status) -> None:
        self.registry.remove(tunnel)
        self.on_change()
        streams = self.streams_of[tunnel.agent_id]
        streams[tunnel.holder] -= 1
        if not streams[tunnel.holder]:
            del streams[tunnel.holder]
        if not streams:
            del self.streams_of[tunnel.agent_id]
            self.left.add(
                tunnel.agent_id, peer=tunnel.stream.peer.name, reason=str(status), connections=len(tunnel.connections)
            )
        if log.v(_detail(tunnel)):
            peer_log.info(
                tunnel.agent_id,
                "Agent disconnected",
                agent=tunnel.agent_id,
                peer=tunnel.stream.peer.address,
                connections=len(tunnel.connections),
                reason=str(status),
            )


def announce_server_count(registry: Registry[AgentTunnel], count: int) -> None:
    """Tell the number of servers to every agent that speaks the extension."""
    packet = wire.server_count(count)
    for agent in registry.all():
        if agent.extension is not None:
            agent.send_control(packet)


def _detail(tunnel: AgentTunnel) -> int:
    """Verbosity for an agent's coming and going. One that is connected already comes again to look for others of us."""
    return 5 if tunnel.known else 0


def _introduction(metadata: Metadata) -> tuple[str, str]:
    """Return the agent's id and its identifiers as sent. A refusal tells numbers and repeats nothing that was sent."""
    ids = metadata.get_all(AGENT_ID)
    if len(ids) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one agent ID in the context, got {len(ids)}")
    texts = metadata.get_all(AGENT_IDENTIFIERS)
    if len(texts) > 1:
        text = f"expected at most one set of agent identifiers in the context, got {len(texts)}"
        raise RpcError(Code.UNKNOWN, text)
    return ids[0], texts[0] if texts else ""

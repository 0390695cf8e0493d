"""Tunnel to one agent, at the server's end: its dials, its load and its heartbeat.

Owns the heartbeat and the timer for late dials. Does not know other agents; news goes to the owner of the tunnel.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Status
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import Dial, DialingTunnel
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.agents import credential_identity
from konnectivity_server.agents.agent_introduction import AgentIntroduction
from konnectivity_server.agents.agent_load import AgentLoad
from konnectivity_server.agents.credential_identity import Account
from konnectivity_server.recent_declines import RecentDeclines

# All agents may reconnect at once: allow many log lines in total, and few per agent.
LINE_RATE = logs.LineRate(per_message=5_000)
log = logs.get_peer_log(__name__, LINE_RATE)

LATE_DIAL_S = 1.0  # a dial that waits this long for its answer: is the agent still there?
SETTLED_S = 1.0  # an agent that is already connected to this server closes within this time


class AgentTunnelOwner(Protocol):
    """Owner of the tunnels to agents, which hears their news."""

    def agent_suspected(self, tunnel: AgentTunnel) -> None:
        """Handle an agent that stopped answering pings."""

    def agent_recovered(self, tunnel: AgentTunnel) -> None:
        """Handle a suspected agent that answers again."""

    def agent_closed(self, tunnel: AgentTunnel, status: Status) -> None:
        """Handle the end of an agent's stream, before its connections are closed."""


class AgentTunnel(DialingTunnel):
    """Tunnel of one agent stream.

    Args:
        stream: the agent's stream.
        options: settings and counters that all agents' tunnels share.
        introduction: id and identifiers of the agent.
        account: account of the agent's token; None: the agent showed none.
        known: whether another stream of the same agent is connected.
        owner: hears news of the agent.
        declines: agents' connections that declined a dial a moment ago.
        heartbeat_s: seconds of silence before a ping; 0: no pings.
        most_pending: dials that the agent is asked for at one time; others wait in the server.

    """

    def __init__(
        self,
        stream: MessageStream,
        options: TunnelOptions,
        introduction: AgentIntroduction,
        account: Account | None,
        known: bool,
        owner: AgentTunnelOwner,
        declines: RecentDeclines,
        heartbeat_s: float,
        most_pending: int,
    ) -> None:
        self._load = AgentLoad(options.clock)
        super().__init__(stream, options, sides.SERVER, sides.CLIENT, self._load.answered)
        self.agent_id, self.identifiers = introduction
        self.user = account.user if account is not None else ""  # user of the agent's token
        self.holder = credential_identity.holder(stream.peer.certificate, account)
        self.log_fields = {"agent": self.agent_id}
        self.connected_at = self._clock()
        self.known = known
        ping = self.round_trip.measure
        self.heartbeat = Heartbeat(stream, ping, heartbeat_s, self, "agent", clock=self._clock, crowd=True)
        self.most_pending = most_pending
        self._owner = owner
        self._declines = declines
        self._late: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Return whether a dial may be asked of the agent while other agents are usable, too."""
        return not (
            self.draining
            or len(self.pending) >= self.most_pending
            or self.memory.full
            or not self.heartbeat.alive
            or (self.known and self.duplicate)
            or self._declines.holds(self.stream.peer.address)
        )

    @property
    def suspect(self) -> bool:
        """Return whether the agent seems to be gone: it does not answer a ping."""
        return not self.heartbeat.alive

    @property
    def duplicate(self) -> bool:
        """Return whether the agent will hang up in a moment: it looks for other servers and found this one again."""
        return self.known and self._clock() - self.connected_at < SETTLED_S

    @property
    def declining(self) -> bool:
        """Return whether an agent behind the same TCP connection declined a dial a moment ago."""
        return self._declines.holds(self.stream.peer.address)

    @property
    def exhausted(self) -> bool:
        """Return whether other agents should be asked first: buffers are full, or too many dials are pending."""
        return self.buffers_full or len(self.pending) >= self.most_pending

    @property
    def load(self) -> float:
        """Load for choosing among agents: how busy the agent is, times how long it takes to answer a dial."""
        return self._load.total(len(self.connections), self.unanswered)

    @property
    def dial_latency_s(self) -> float:
        """Seconds that recent dials took, smoothed."""
        return self._load.dial_latency_s

    def ask(self, dial: Dial) -> int:
        """Ask the agent for a connection, and watch for a late answer; a probe has its own watch."""
        random = super().ask(dial)
        if self._late is None and not dial.is_probe:
            self._late = self._loop.call_later(LATE_DIAL_S, self._look_for_late_dials)
        return random

    def declined(self) -> None:
        """Ask the agents behind this TCP connection after the others for a while: one of them declined a dial."""
        self._declines.add(self.stream.peer.address)

    def stream_closed(self, status: Status) -> None:
        """End the tunnel: tell the owner, then close every connection."""
        self.heartbeat.stop()
        if self._late is not None:
            self._late.cancel()
        self._owner.agent_closed(self, status)
        super().stream_closed(status)

    def _look_for_late_dials(self) -> None:
        """Ping the agent if its oldest dial is late. One timer serves all dials, and only while there are any."""
        self._late = None
        if not self.pending or self.closed:
            return
        _, oldest = next(iter(self.pending.values()))
        late = self._clock() - oldest
        if late >= LATE_DIAL_S and (self.stream.heard_at or 0.0) < oldest + LATE_DIAL_S / 2:
            self.heartbeat.probe()
        self._late = self._loop.call_later(LATE_DIAL_S, self._look_for_late_dials)

    def peer_suspected(self) -> None:
        """Tell the owner that the agent does not answer a ping."""
        log.warning(self.agent_id, "Agent does not answer", agent=self.agent_id)
        self._owner.agent_suspected(self)

    def peer_recovered(self) -> None:
        """Tell the owner that the agent answers again."""
        log.warning(self.agent_id, "Agent answers again", agent=self.agent_id)
        self._owner.agent_recovered(self)

"""Server's dials and agents in memory: every packet arrives when the test says so.

Owns the pending dials, the agent service and the agents of one server. There is no frontend: tests start dials.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.agents.agent_service import AgentService
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.peer_limits import DialLimits
from konnectivity_server.pending_dial import PendingDial
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.registry import Registry
from support.memory_dials import MemoryDial, MemorySocket
from support.memory_streams import MemoryStream, StillLoop, stream_pair

CLIENT = Peer("10.1.1.1:1")


def in_still_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on an event loop whose clock moves only by `advance`."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


async def advance(seconds: float) -> None:
    """Advance the still clock and run the timers that are due."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    await loop.advance(seconds)


class FarEnd:
    """Serving end of a memory stream: an agent, or a peer server. Dials wait for the test's answer."""

    def __init__(self, stream: MemoryStream, extension: bool) -> None:
        self.stream = stream
        self.dials: list[IncomingDial] = []
        self.sockets: list[MemorySocket] = []
        self.end = ServingTunnel(stream, TunnelOptions(), sides.AGENT, sides.TARGET, self.dials.append)
        stream.receiver = self.end
        if extension:
            self.end.negotiate(Extension(65_536))

    @property
    def asked(self) -> list[IncomingDial]:
        """Return the dials that this end has received, including cancelled ones."""
        self.stream.deliver()
        return self.dials

    def connects(self, number: int = -1) -> MemorySocket:
        """Answer a dial with a connection to a memory socket, and deliver the answer."""
        return self.connects_to(self.asked[number])

    def connects_to(self, dial: IncomingDial) -> MemorySocket:
        """Answer the given dial, although later dials may have arrived."""
        socket = MemorySocket()
        socket.connection = dial.connected(socket)
        self.sockets.append(socket)
        self.stream.other.deliver()
        return socket

    def fails(self, text: str, number: int = -1) -> None:
        """Answer a dial with an error, and deliver the answer."""
        self.asked[number].failed(text)
        self.stream.other.deliver()

    def leaves(self) -> None:
        """End the stream."""
        self.stream.abort("the agent left")


class MemoryAgent(FarEnd):
    """Agent, and the server's end of its tunnel."""

    def __init__(self, service: AgentService, agent_id: str, extension: bool) -> None:
        near, far = stream_pair()
        near.peer = Peer(f"{agent_id}.test:1")
        offer = Extension(65_536).header() if extension else {}
        near.metadata = Metadata([("agentid", agent_id), *offer.items()])
        super().__init__(far, extension)
        tunnel = service.connect(near)
        assert isinstance(tunnel, AgentTunnel)
        self.tunnel = near.receiver = tunnel


class MemoryPeer(FarEnd):
    """Peer server, and this server's end of the tunnel to it."""

    def __init__(self, server_id: str, options: TunnelOptions) -> None:
        near, far = stream_pair()
        super().__init__(far, extension=True)
        self.tunnel = near.receiver = DialingTunnel(near, options, sides.SERVER, sides.CLIENT)
        self.tunnel.negotiate(Extension(65_536))
        self.tunnel.log_fields = {"server": server_id}


class MemoryServer:
    """Pending dials of a server, its agents and its peer servers. Made within a running event loop."""

    def __init__(self, timeout_s: float = 10.0, per_frontend: int = 100, per_agent: int = 100) -> None:
        loop = asyncio.get_running_loop()
        self.reached: Counter[str] = Counter()
        self.memory = MemoryBudget()
        self.options = TunnelOptions(memory=self.memory, clock=loop.time, reached=self.reached)
        self.peer_options = TunnelOptions(memory=self.memory, clock=loop.time)
        self.traffic = self.options.traffic
        self.registry: Registry[AgentTunnel] = Registry()
        self.peers: list[MemoryPeer] = []
        self.dials = PendingDials(
            self.registry,
            ["default"],
            timeout_s,
            self.memory,
            self.traffic,
            DialLimits(per_frontend, reached=self.reached),
            self._pick_peer,
            loop.time,
        )
        self.service = AgentService(
            self.registry,
            self.options,
            "server-1",
            lambda: 1,
            asyncio.TaskGroup(),
            0.0,
            per_agent,
            self.dials.retry_all_of,
            lambda: None,
            clock=loop.time,
        )

    def agent(self, agent_id: str = "a", extension: bool = True) -> MemoryAgent:
        """Return a new agent, which is connected."""
        return MemoryAgent(self.service, agent_id, extension)

    def agents(self, count: int) -> list[MemoryAgent]:
        """Return new agents, which are connected."""
        return [self.agent(f"agent-{number}") for number in range(count)]

    def peer(self, server_id: str) -> MemoryPeer:
        """Return a new peer server, to which this one is connected."""
        peer = MemoryPeer(server_id, self.peer_options)
        self.peers.append(peer)
        return peer

    def dial(
        self, address: str = "node:1", client: Peer = CLIENT, relayed: bool = False
    ) -> tuple[MemoryDial, PendingDial]:
        """Start a dial; return the outcome that its frontend receives, and the dial."""
        frontend = MemoryDial()
        return frontend, self.dials.dial(address, frontend, client, relayed=relayed)

    def _pick_peer(self, tried: object) -> DialingTunnel | None:
        assert isinstance(tried, list)
        return next((peer.tunnel for peer in self.peers if peer.tunnel not in tried), None)


def asked_one(ends: list[MemoryAgent]) -> MemoryAgent:
    """Return the only agent that has an unanswered dial."""
    (found,) = [each for each in ends for dial in each.asked if dial.random in each.end.opening]
    return found

"""gRPC frontend as a conversation: a client's tunnel, the server, and an agent, all in memory."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, DialFailure
from konnectivity.grpc.metadata import Metadata
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.frontends.grpc_frontend import ProxyService, opener_of
from support.memory_dials import MemoryDial, MemorySocket
from support.memory_server import CLIENT, MemoryAgent, MemoryServer, advance, in_still_time
from support.memory_streams import stream_pair


class Site:
    """Server with a gRPC frontend, a client's tunnel to it, and an agent."""

    def __init__(self, extension: bool, agents: int = 1) -> None:
        self.server = MemoryServer()
        self.agents = [self.server.agent(f"agent-{number}", extension) for number in range(agents)]
        self.client_stream, self.server_stream = stream_pair()
        self.server_stream.peer = CLIENT
        self.server_stream.metadata = Metadata(Extension(65_536).header().items() if extension else ())
        self.frontend = ProxyService(opener_of(self.server.dials.dial), TunnelOptions(memory=self.server.memory))
        self.tunnel = self.server_stream.receiver = self.frontend.proxy(self.server_stream)
        self.client = DialingTunnel(self.client_stream, TunnelOptions(), sides.CLIENT, sides.CLIENT)
        self.client_stream.receiver = self.client
        if extension:
            self.client.negotiate(Extension(65_536))

    @property
    def agent(self) -> MemoryAgent:
        return self.agents[0]

    def dial(self, address: str = "node:1") -> tuple[MemoryDial, int]:
        dial = MemoryDial(address)
        number = self.client.ask(dial)
        self.server_stream.deliver()
        return dial, number

    def settle(self) -> None:
        """Deliver everything on both tunnels."""
        for _ in range(20):
            for agent in self.agents:
                agent.stream.deliver()
                agent.tunnel.stream.deliver()
            self.client_stream.deliver()
            self.server_stream.deliver()


def connected(extension: bool) -> tuple[Site, MemoryDial, MemorySocket]:
    site = Site(extension)
    dial, _ = site.dial()
    target = site.agent.connects()
    site.settle()
    assert dial.connection is not None
    return site, dial, target


both = pytest.mark.parametrize("extension", [True, False], ids=["extension", "reference"])


@both
@in_still_time
async def test_a_clients_connection_is_joined_to_one_through_an_agent(extension):
    site, dial, target = connected(extension)
    dial.connection.outbound.send(b"question")
    site.settle()
    assert target.received == b"question"
    target.connection.outbound.send(b"answer")
    site.settle()
    assert dial.socket.received == b"answer"


@both
@in_still_time
async def test_a_client_that_breaks_ends_the_connection_at_the_target(extension):
    site, dial, target = connected(extension)
    dial.connection.local_lost("broken")
    for _ in range(3):  # the reference protocol has graces instead of a reset
        site.settle()
        await advance(61.0)
    assert target.aborted or target.closed
    assert not site.agent.tunnel.connections
    assert not site.tunnel.connections


@both
@in_still_time
async def test_an_agent_that_leaves_ends_the_connection_with_an_error(extension):
    site, dial, _ = connected(extension)
    site.agent.leaves()
    site.settle()
    assert dial.socket.aborted or dial.socket.closed
    assert not site.tunnel.connections


@in_still_time
async def test_half_a_close_passes_in_each_direction():
    site, dial, target = connected(extension=True)
    dial.connection.outbound.send(b"question")
    dial.connection.local_end()
    site.settle()
    assert (bytes(target.received), target.ended) == (b"question", True)
    target.connection.outbound.send(b"answer to all of it")
    target.connection.local_end()
    site.settle()
    assert dial.socket.received == b"answer to all of it"
    assert dial.socket.closed
    assert not site.tunnel.connections
    assert not site.agent.tunnel.connections


@both
@in_still_time
async def test_an_error_of_the_agent_is_passed_on_word_by_word(extension):
    site = Site(extension)
    dial, _ = site.dial()
    site.agent.fails("dial tcp node:1: connect: connection refused")
    site.settle()
    assert dial.error.failure is DialFailure.ENDPOINT
    assert str(dial.error) == "dial tcp node:1: connect: connection refused"


@in_still_time
async def test_without_an_agent_the_client_is_told_so():
    site = Site(extension=True, agents=0)
    dial, _ = site.dial()
    site.settle()
    assert str(dial.error) == NO_AGENT


@both
@in_still_time
async def test_a_dial_that_the_client_withdraws_is_cancelled_at_the_agent(extension):
    site = Site(extension)
    _, number = site.dial()
    assert len(site.agent.asked) == 1
    site.client.withdraw(number)
    site.settle()
    assert [dial.cancelled for dial in site.agent.dials] == [True]
    assert site.server.dials.pending_of("10.1.1.1") == 0


@both
@in_still_time
async def test_a_client_that_leaves_cancels_its_dials(extension):
    site = Site(extension)
    site.dial()
    assert len(site.agent.asked) == 1
    site.client_stream.abort("the client left")
    site.settle()
    assert [dial.cancelled for dial in site.agent.dials] == [True]


@in_still_time
async def test_a_stream_of_the_reference_carries_one_connection():
    site = Site(extension=False)
    first, _ = site.dial()
    second, _ = site.dial()
    site.settle()
    assert str(second.error) == "this stream already carries a connection: open another"
    site.agent.connects()
    site.settle()
    assert first.connection is not None


@in_still_time
async def test_a_stream_with_the_extension_carries_many_connections():
    site = Site(extension=True)
    dials = [site.dial(f"node:{number}")[0] for number in range(1, 5)]
    for number in range(4):
        site.agent.connects(number)
    site.settle()
    assert all(dial.connection is not None for dial in dials)


@in_still_time
async def test_a_target_that_takes_nothing_stops_the_client_at_the_window():
    site, dial, target = connected(extension=True)
    target.full = True
    for _ in range(200):
        if dial.socket.paused:
            break
        dial.connection.outbound.send(bytes(16_384))
        site.settle()
    assert dial.socket.paused
    assert target.waiting <= 2 * 65_536
    target.drain()
    site.settle()
    assert not dial.socket.paused

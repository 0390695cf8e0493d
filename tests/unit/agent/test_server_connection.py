"""Connection to one proxy server, over streams in memory and with a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from konnectivity.grpc.status import OK, Code, RpcError, Status
from konnectivity.tunnel.serving import IncomingDial
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent.pool_plan import DialAddress
from konnectivity_agent.server_connection import (
    CONNECT_TIMEOUT_S,
    IDLE_CHECK_S,
    PATH,
    REFERENCE_HEARTBEAT_S,
    SUSPECT_AFTER_S,
    ServerConnection,
    failure_reason,
    greet,
)
from konnectivity_agent.server_greeting import AgentIdentity
from support.memory_dials import MemoryDial, MemorySocket
from support.memory_server import advance, in_still_time
from support.remote_server import RemoteServer

ADDRESS = DialAddress("server.test", 8091)
IDENTITY = AgentIdentity("agent-1", "host=node-1")
HEARTBEAT_S = 10.0


class Events:
    """Recorder of the reported events, in order."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def verdict_changed(self, server: ServerConnection) -> None:
        self.seen.append("answers" if server.alive else "silent")

    def server_draining(self, server: ServerConnection) -> None:
        self.seen.append("draining")

    def server_count_announced(self, server: ServerConnection, count: int) -> None:
        self.seen.append(count)


def open_in_memory(dial: IncomingDial) -> None:
    """Connect every dial to a socket in memory."""
    dial.connected(MemorySocket())


async def connected(
    server: RemoteServer, events: Events | None = None, identity: AgentIdentity = IDENTITY
) -> ServerConnection:
    options = TunnelOptions(clock=asyncio.get_running_loop().time)
    return await greet(server.channel(), ADDRESS, events or Events(), HEARTBEAT_S, identity, options, open_in_memory)


@in_still_time
async def test_a_greeting_that_is_accepted_tells_who_the_server_is():
    server = RemoteServer("one", 3, instance="process 7")
    connection = await connected(server)
    assert (connection.server_id, connection.server_count, connection.instance) == ("one", 3, "process 7")
    assert connection.extension
    assert connection.available
    request = server.tunnels[0].stream.metadata
    assert (request.get_all("agentid"), request.get_all("agentidentifiers")) == (["agent-1"], ["host=node-1"])
    assert server.calls[0].other.path == PATH


@in_still_time
async def test_a_server_of_the_reference_has_no_extension_and_no_instance():
    connection = await connected(RemoteServer("one", extension=False))
    assert not connection.extension
    assert connection.instance == ""


@in_still_time
async def test_a_greeting_that_is_refused_closes_the_connection():
    server = RemoteServer("one")
    server.refusal = RpcError(Code.UNAUTHENTICATED, "no such token")
    with pytest.raises(RpcError, match="no such token"):
        await connected(server)
    assert server.channels[0].closed


@in_still_time
async def test_an_answer_without_a_server_id_closes_the_connection():
    server = RemoteServer("x" * 100_000)
    with pytest.raises(RpcError, match="expected one server ID"):
        await connected(server)
    assert server.channels[0].closed


@in_still_time
async def test_a_greeting_without_an_answer_ends_after_its_time():
    server = RemoteServer("one")
    server.silent = True
    greeting = asyncio.gather(connected(server), return_exceptions=True)
    await advance(0)
    await advance(CONNECT_TIMEOUT_S - 1)
    assert not greeting.done()
    await advance(2)
    (error,) = await greeting
    assert failure_reason(error) == "no answer within 20 s"
    assert server.channels[0].closed


@in_still_time
async def test_the_token_is_read_again_for_each_greeting(tmp_path):
    server, token = RemoteServer("one"), tmp_path / "token"
    for text in ("first", "second"):
        token.write_text(text)
        await connected(server, identity=AgentIdentity("agent", "", str(token)))
    assert [each.stream.metadata.get_all("authorization") for each in server.tunnels] == [
        ["Bearer first"],
        ["Bearer second"],
    ]


@in_still_time
async def test_a_token_file_without_a_token_closes_the_connection(tmp_path):
    server, token = RemoteServer("one"), tmp_path / "token"
    token.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        await connected(server, identity=AgentIdentity("agent", "", str(token)))
    assert server.channels[0].closed


@in_still_time
async def test_the_server_dials_through_the_tunnel_until_the_connection_is_closed():
    server = RemoteServer("one")
    connection = await connected(server)
    dial = MemoryDial()
    server.tunnels[0].ask(dial)
    server.deliver()
    assert dial.connection is not None
    assert connection.connections == 1
    connection.close()
    assert (await connection.ended()).message == "the agent is leaving"
    assert connection.connections == 0
    assert not connection.alive


@in_still_time
async def test_a_drain_is_reported_once_however_often_the_server_announces_it():
    server, events = RemoteServer("one"), Events()
    connection = await connected(server, events)
    for _ in range(3):
        server.drain()
    assert events.seen == ["draining"]
    assert connection.draining
    assert connection.alive
    assert not connection.available


@in_still_time
async def test_server_counts_are_reported():
    server, events = RemoteServer("one"), Events()
    await connected(server, events)
    server.announce(3)
    server.announce(5)
    assert events.seen == [3, 5]


@in_still_time
async def test_a_server_that_answers_no_ping_is_reported_and_so_is_its_return():
    server, events = RemoteServer("one"), Events()
    server.heard_at = 0.0  # long ago
    connection = await connected(server, events)
    await advance(HEARTBEAT_S)
    pings = server.calls[0].pings
    assert events.seen == []
    await advance(SUSPECT_AFTER_S)
    assert events.seen == ["silent"]
    assert pings >= 1
    assert not connection.alive
    server.heard_at = 1e15
    await advance(0.3)
    assert events.seen == ["silent", "answers"]
    assert connection.available


@in_still_time
async def test_a_server_of_the_reference_is_pinged_less_often_than_it_tolerates():
    server, events = RemoteServer("one", extension=False), Events()
    server.heard_at = 0.0
    connection = await connected(server, events)
    connection.probe()
    await advance(REFERENCE_HEARTBEAT_S - 1)
    assert server.calls[0].pings == 0
    await advance(1)
    assert server.calls[0].pings == 1


@in_still_time
async def test_the_end_of_the_stream_ends_the_connection_with_its_status():
    server = RemoteServer("one")
    connection = await connected(server)
    server.stop(Status(Code.UNAVAILABLE, "killed"))
    assert (await connection.ended()).code is Code.UNAVAILABLE
    assert server.channels[0].closed


@in_still_time
async def test_nothing_is_reported_after_the_end():
    server, events = RemoteServer("one"), Events()
    server.heard_at = 0.0
    connection = await connected(server, events)
    connection.close()
    await advance(HEARTBEAT_S + SUSPECT_AFTER_S)
    assert events.seen == []


@in_still_time
async def test_it_closes_when_idle_as_soon_as_no_connection_is_open():
    server = RemoteServer("one")
    connection = await connected(server)
    dial = MemoryDial()
    server.tunnels[0].ask(dial)
    server.deliver()
    connection.close_when_idle()
    await advance(5 * IDLE_CHECK_S)
    assert not server.channels[0].closed
    assert dial.connection is not None
    dial.connection.local_lost("done")
    server.deliver()
    await advance(IDLE_CHECK_S)
    assert server.channels[0].closed


@in_still_time
async def test_a_newer_connection_takes_the_place_of_one_that_drains_in_another_process_only():
    old, new, same = [await connected(RemoteServer("one", instance=each)) for each in ("old", "new", "old")]
    assert not old.superseded_by(new)
    server = RemoteServer("one", instance="old")
    draining = await connected(server)
    server.drain()
    assert draining.superseded_by(new)
    assert not draining.superseded_by(same)
    server.stop(OK)
    assert draining.superseded_by(same)


@pytest.mark.parametrize("host", ["a..b", ".example.com", "a" * 64 + ".example.com"])
def test_a_host_that_can_be_no_name_is_reported_as_unknown(host):
    with pytest.raises(UnicodeError) as raised:
        socket.getaddrinfo(host, 1)
    assert failure_reason(raised.value) == "no such host"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RpcError(Code.UNAUTHENTICATED, "no such token"), "no such token"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (TimeoutError(), "no answer within 20 s"),
        (ValueError("token file 'x' is empty"), "token file 'x' is empty"),
    ],
)
def test_the_reason_of_a_failure_is_told_in_words(error, reason):
    assert reason in failure_reason(error)


def test_a_certificate_that_is_not_accepted_is_told_with_the_reason():
    error = ssl.SSLCertVerificationError(1, "verify failed")
    error.verify_message = "Hostname mismatch"
    assert failure_reason(error) == "the server's certificate is not accepted: Hostname mismatch"

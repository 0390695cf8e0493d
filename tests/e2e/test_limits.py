"""Tests of each limit in docs/secure/limits.md with one peer: it is enforced and counted; other peers see no effect."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import grpc
import pytest

from konnectivity import wire
from konnectivity.client import DialError, connect
from konnectivity.http2 import events, frames
from support import grpc_peer, http2_peer, targets
from support.grpc_peer import EXTENDED
from support.targets import listening

PREFIX = "konnectivity_network_proxy_server_"


def reached(deployment):
    """Return the number of times that each limit was reached, by name."""
    connection = http.client.HTTPConnection("127.0.0.1", deployment.health_port, timeout=5)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    start = f'{PREFIX}limits_reached_total{{limit="'
    found = (line.removeprefix(start).rpartition('"} ') for line in lines if line.startswith(start))
    return {name: int(value) for name, _, value in found}


async def until_reached(deployment, limit, times=1, seconds=10.0):
    end = time.monotonic() + seconds
    while (found := await asyncio.to_thread(reached, deployment)).get(limit, 0) < times:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.02)


@asynccontextmanager
async def works(deployment):
    """Check that an honest connection opened before the block, and one opened after it, still echo."""
    async with (
        listening(targets.echo) as address,
        connect(**deployment.frontend("http-connect", unix=True)) as tunnel,
    ):
        before = await tunnel.dial(address)
        try:
            yield
            for reader, writer in (before, await tunnel.dial(address)):
                writer.write(b"hello")
                async with asyncio.timeout(10):
                    assert await reader.readexactly(5) == b"hello"
                writer.close()
        finally:
            before[1].transport.abort()


@pytest.fixture
def served(fresh):
    """Return a function that starts a server with the given flags, and an honest agent."""

    def start(*flags):
        fresh.start_server(*flags)
        fresh.start_agent()
        return fresh

    return start


# ---- connections -----------------------------------------------------------------------------------------------------


async def test_connections_of_one_source(served):
    """One source may hold an agent and two connections, with or without TLS; closing one admits another."""
    deployment = served("--max-connections-per-source=3", "--handshake-timeout=20s")
    async with works(deployment), AsyncExitStack() as stack:
        guest = await http2_peer.connected(deployment, "agents")
        _, silent = await asyncio.open_connection("127.0.0.1", deployment.agent_port)
        stack.callback(silent.transport.abort)
        await asyncio.sleep(0.1)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await http2_peer.connected(deployment, "agents")
        assert await asyncio.to_thread(reached, deployment) == {"connections_per_source": 1}
        guest.close()
        for _ in range(100):
            try:
                another = await http2_peer.connected(deployment, "agents")
                break
            except (ConnectionError, ssl.SSLError):
                await asyncio.sleep(0.02)
        else:
            pytest.fail("nobody was let in again")
        stack.callback(another.close)
        async with connect(**deployment.frontend("grpc", unix=False)):  # each listener has its own count
            pass


async def test_a_tls_handshake_has_a_deadline(served):
    deployment = served("--max-connections-per-source=100", "--handshake-timeout=300ms")
    async with works(deployment):
        for port in (deployment.agent_port, deployment.server_port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()
        await until_reached(deployment, "handshake", 2)


@pytest.mark.parametrize("where", ["unix", "frontends", "agents"])
async def test_the_beginning_of_http2_has_a_deadline(served, where):
    deployment = served("--handshake-timeout=300ms", "--connect-head-timeout=300ms")
    async with works(deployment), http2_peer.peer(deployment, where, greeted=False) as peer:
        peer.http2.take()
        await peer.say(frames.PREFACE[:10] if where == "agents" else frames.PREFACE)
        await peer.hung_up_on()
        await until_reached(deployment, "handshake")


@pytest.mark.parametrize("where", ["unix", "agents"])
async def test_a_connection_without_a_call_is_closed(served, where):
    deployment = served("--idle-connection-timeout=300ms")
    async with works(deployment), http2_peer.peer(deployment, where) as peer:
        assert (await peer.hear(events.GoAwayReceived)).debug == "no call for too long"
        await peer.hung_up_on()
        await asyncio.sleep(0.5)  # the agent has a call, so its connection is kept
        assert await asyncio.to_thread(reached, deployment) == {"idle_connection": 1}


# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------


async def goes_away(peer):
    gone = await peer.hear(events.GoAwayReceived)
    assert gone.code == 0xB
    await peer.hung_up_on()
    return gone.debug


PING = frames.frame(frames.PING, 0, 0, bytes(8))


def floods(found):
    return found.get("control_frames", 0) + found.get("unsent_replies", 0)


FLOODS = {
    "ping": PING,
    "settings": frames.settings({}),
    "window update": frames.window_update(1, 1),
    "priority": frames.frame(frames.PRIORITY, 0, 1, bytes(5)),
    "empty data": frames.frame(frames.DATA, 0, 1),
    "unknown": frames.frame(0x77, 0, 0),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_control_frames(deployment, flood):
    """A flood of control frames ends its connection; unread answers may reach the limit of unsent bytes first."""
    before = floods(await asyncio.to_thread(reached, deployment))
    async with works(deployment), http2_peer.peer(deployment, "agents") as peer:
        await peer.call(http2_peer.agent("flooding"))
        reading = asyncio.create_task(peer.hung_up_on(30))
        while not reading.done():
            with suppress(ConnectionError):
                await peer.say(FLOODS[flood] * 1000)
            await asyncio.sleep(0.001)
    assert floods(await asyncio.to_thread(reached, deployment)) == before + 1


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_frontend_that_floods_is_read_more_slowly(served, flood):
    """After a burst of 4,000 frames a frontend is read at 2,000 frames a second, and its users are served as before."""
    deployment = served("--max-control-frame-rate=2000")
    async with works(deployment), http2_peer.peer(deployment) as peer:
        await peer.call(http2_peer.request(http2_peer.PROXY))
        await peer.hear(events.HeadersReceived)
        started = time.monotonic()
        for _ in range(8):
            await peer.say(FLOODS[flood] * 1000)
        await peer.say(frames.frame(frames.PING, 0, 0, b"the last"))
        while (await peer.hear(events.PingAcknowledged)).payload != b"the last":
            pass
        await peer.call(http2_peer.request(http2_peer.PROXY))
        await peer.hear(events.HeadersReceived)
        assert time.monotonic() - started > 1.5
    assert (await asyncio.to_thread(reached, deployment)).keys() == {"control_frames"}


async def test_resets_as_fast_as_it_can(deployment):
    before = floods(await asyncio.to_thread(reached, deployment))
    async with works(deployment), http2_peer.peer(deployment, "agents") as peer:
        reading = asyncio.create_task(peer.hung_up_on(20))
        with pytest.raises(ConnectionError):
            for number in range(30_000):
                stream_id = peer.http2.open_stream(http2_peer.agent(f"agent-{number}"))
                peer.http2.reset_stream(stream_id)
                await peer.say()
                if reading.done():
                    raise ConnectionResetError
        await reading
    assert floods(await asyncio.to_thread(reached, deployment)) == before + 1


async def test_calls_that_a_frontend_cancels_as_fast_as_it_can(served):
    """Cancelled calls of a frontend belong to many users, so the server does not disconnect the frontend."""
    deployment = served()
    async with works(deployment), http2_peer.peer(deployment) as peer:
        for _ in range(100):
            for _ in range(50):
                stream_id = peer.http2.open_stream(http2_peer.request(http2_peer.PROXY))
                peer.http2.reset_stream(stream_id)
            await peer.say()
        alive = await peer.call(http2_peer.request(http2_peer.PROXY))
        while (await peer.hear(events.HeadersReceived)).stream_id != alive:
            pass
    assert await asyncio.to_thread(reached, deployment) == {}


async def test_new_streams_over_the_rate_are_refused(served):
    deployment = served("--max-new-stream-rate=3")
    async with works(deployment), http2_peer.peer(deployment, "agents") as peer:
        for number in range(4):
            await peer.call(http2_peer.agent(f"agent-{number}"))
        assert (await peer.hear(events.StreamEnded)).code == 7  # REFUSED_STREAM: the peer may retry
    assert await asyncio.to_thread(reached, deployment) == {"new_streams": 1}


async def test_streams_of_one_agent_connection(deployment):
    async with http2_peer.peer(deployment, "agents") as peer:
        peer.http2.remote.max_concurrent_streams = 1000
        for number in range(101):
            await peer.call(http2_peer.agent(f"crowd-{number}"))
        refused = await peer.hear(events.StreamEnded)
        assert (refused.stream_id, refused.code) == (201, 7)
    assert (await asyncio.to_thread(reached, deployment))["concurrent_streams"] == 1


async def test_a_header_bomb(served):
    """A header block that repeats one entry of the dynamic table many times ends its connection."""
    deployment = served("--max-header-list=8Ki")
    async with works(deployment), http2_peer.peer(deployment) as peer:
        await peer.call([*http2_peer.request(http2_peer.PROXY), *[("bomb", "x" * 1000)] * 20])
        assert await goes_away(peer) == "header list too large"
    assert await asyncio.to_thread(reached, deployment) == {"header_list": 1}


async def test_a_flood_of_continuations(deployment):
    async with works(deployment), http2_peer.peer(deployment) as peer:
        more = frames.frame(frames.CONTINUATION, 0, 1, b"x")
        await peer.say(frames.frame(frames.HEADERS, 0, 1, b"x") + more * 100)
        assert await goes_away(peer) == "header block too large"
    assert (await asyncio.to_thread(reached, deployment))["header_block"] == 1


def opening(where, name):
    """Return the headers of an agent's call or of a frontend's call; packets may follow them."""
    return http2_peer.agent(name, *EXTENDED) if where == "agents" else http2_peer.request(http2_peer.PROXY, *EXTENDED)


async def unread(peer, where, times, name="unread"):
    """Send forged packets, 50 per frame, whose answers cannot be sent because the peer grants no window."""
    await peer.say(http2_peer.zero_window())
    stream_id = await peer.call(opening(where, name))
    await peer.hear(events.HeadersReceived)
    forged = http2_peer.message(grpc_peer.data(7, b"x")) * 50
    for _ in range(times):
        await peer.say(frames.frame(frames.DATA, 0, stream_id, forged))
        await asyncio.sleep(0.001)


async def test_a_crowd_that_does_not_read(served):
    """With each peer below its own limit, exceeding the total disconnects only the peer with the most unsent bytes."""
    deployment = served("--max-unsent-total=160Ki", "--max-unsent=8Mi")
    async with works(deployment), AsyncExitStack() as stack:
        modest = [await stack.enter_async_context(http2_peer.peer(deployment, "agents")) for _ in range(4)]
        for number, peer in enumerate(modest):
            await unread(peer, "agents", 2, f"modest-{number}")
        greedy = await stack.enter_async_context(http2_peer.peer(deployment, "agents"))
        with pytest.raises(ConnectionError):
            await unread(greedy, "agents", 5000, "greedy")
        assert (await asyncio.to_thread(reached, deployment)).get("unsent_total") == 1
        for peer in modest:
            await peer.say(PING)
            await peer.hear(events.PingAcknowledged)


async def forge_until_reset(peer):
    """Send packets for an unknown connection, whose answers wait for a window, until the stream is reset."""
    await peer.say(http2_peer.zero_window())
    stream_id = await peer.call(opening("unix", ""))
    await peer.hear(events.HeadersReceived)
    forged = http2_peer.message(grpc_peer.data(7, b"x")) * 200
    hearing = asyncio.create_task(peer.hear(events.StreamEnded))
    while not hearing.done():
        assert peer.said < 4 << 20, "it goes on and on"
        await peer.say(frames.frame(frames.DATA, 0, stream_id, forged))
        await asyncio.sleep(0.001)
    ended = await hearing
    assert (ended.stream_id, ended.code) == (stream_id, 0xB)


@pytest.mark.parametrize(
    ("flag", "limit"), [("--max-unsent=32Ki", "unsent_bytes"), ("--max-unsent-total=32Ki", "unsent_total")]
)
async def test_a_stream_of_a_frontend_whose_answers_are_not_taken(served, flag, limit):
    """A frontend stream whose answers are not read ends alone; the connection stays open for its other users."""
    deployment = served(flag)
    async with works(deployment), http2_peer.peer(deployment) as peer:
        other = await peer.call(http2_peer.request(http2_peer.PROXY))
        await forge_until_reset(peer)
        await peer.say(PING)
        await peer.hear(events.PingAcknowledged)
        assert other in peer.http2.streams
    assert (await asyncio.to_thread(reached, deployment))[limit] == 1


async def test_answers_that_are_not_read_while_windows_are_shut(served):
    """Each DATA packet for an unknown connection is answered, and the answers wait for a window that never opens."""
    deployment = served("--max-unsent=32Ki")
    async with works(deployment), http2_peer.peer(deployment, "agents") as peer:
        with pytest.raises(ConnectionError):
            await unread(peer, "agents", 2000)
            assert peer.said < 4 << 20, "it goes on and on"
    assert (await asyncio.to_thread(reached, deployment))["unsent_bytes"] == 1


@pytest.mark.parametrize("where", ["unix", "agents"])
async def test_packets_for_connections_that_there_are_not(deployment, where):
    before = (await asyncio.to_thread(reached, deployment)).get("unknown_connections", 0)
    async with works(deployment), http2_peer.peer(deployment, where) as peer:
        # The agent drains at once, so that the server sends no dials to it.
        stream_id = await peer.call(opening(where, "drains"))
        await peer.send(stream_id, wire.drain())
        for number in range(60):
            await peer.send(stream_id, *[grpc_peer.data(number + 1, b"x")] * 100)
        await until_reached(deployment, "unknown_connections", before + 1000)


async def begin_messages(peer, streams, size, first=100_000):
    """Send the first bytes of a message of `size` bytes on each stream."""
    start = http2_peer.message(bytes(size))[:first]
    for stream_id in streams:
        for at in range(0, len(start), 16_384):
            await peer.say(frames.frame(frames.DATA, 0, stream_id, start[at : at + 16_384]))


async def test_messages_that_never_end(served):
    deployment = served("--max-incomplete-messages=1Mi")
    async with works(deployment), http2_peer.peer(deployment, "agents") as peer:
        streams = [await peer.call(http2_peer.agent(f"agent-{number}")) for number in range(20)]
        await begin_messages(peer, streams, 4 << 20)
        while (ended := await peer.hear(events.HeadersReceived)).end_stream is False:
            pass
        fields = dict(ended.headers)
        assert (fields["grpc-status"], fields["grpc-message"]) == ("8", "too many bytes of incomplete messages")
        assert ended.stream_id == streams[10], "ten of them fit"
    assert (await asyncio.to_thread(reached, deployment)).keys() == {"incomplete_messages"}


async def test_large_messages_of_frontends_wait_for_memory(served):
    """A frontend's second large message gets no window before the first is complete; no stream ends."""
    deployment = served("--message-buffer-budget=1Mi")
    async with works(deployment), http2_peer.peer(deployment) as peer:
        streams = [await peer.call(http2_peer.request(http2_peer.PROXY)) for _ in range(2)]
        size = 600_000
        whole = http2_peer.message(bytes(size))
        await begin_messages(peer, streams, size, first=60_000)
        await until_reached(deployment, "message_memory")
        for stream_id in streams:
            http2 = peer.http2
            stream = http2.streams[stream_id]
            stream.send_window -= 60_000  # the bytes were sent outside of the stream
            http2.send_data(stream, b"", whole[60_000:])
        await peer.say()
        for stream_id in streams:  # the server skips invalid packets; windows show the bytes read
            async with asyncio.timeout(10):
                while peer.http2.streams[stream_id].queued:
                    peer.understand(await peer.reader.read(65_536))
                    await peer.say()
    assert await asyncio.to_thread(reached, deployment) == {"message_memory": 1}


async def test_a_message_that_is_too_large(deployment):
    async with works(deployment), http2_peer.peer(deployment) as peer:
        stream_id = await peer.call(http2_peer.request(http2_peer.PROXY))
        await peer.say(frames.frame(frames.DATA, 0, stream_id, http2_peer.message(bytes((4 << 20) + 1))[:10]))
        while (ended := await peer.hear(events.HeadersReceived)).end_stream is False:
            pass
        assert dict(ended.headers)["grpc-status"] == "8"
    assert (await asyncio.to_thread(reached, deployment))["message_size"] == 1


# ---- HTTP CONNECT ----------------------------------------------------------------------------------------------------


async def asked(deployment, request):
    """Send `request` to the unix socket and return all bytes of the answer."""
    reader, writer = await asyncio.open_unix_connection(deployment.socket)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("start", [b"", b"CONN", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n"])
async def test_a_slow_head(served, start):
    deployment = served("--connect-head-timeout=300ms")
    async with works(deployment):
        assert await asked(deployment, start) == b""
    if start:  # before the first byte the protocol is unknown
        assert await asyncio.to_thread(reached, deployment) == {"connect_head_time": 1}


async def test_a_head_that_does_not_end(served):
    deployment = served("--max-connect-head=16Ki")
    async with works(deployment):
        answer = await asked(deployment, b"CONNECT a:1 HTTP/1.1\r\n" + b"X: y\r\n" * 4000)
        assert answer.startswith(b"HTTP/1.1 431 ")
    assert await asyncio.to_thread(reached, deployment) == {"connect_head": 1}


async def test_a_client_that_asks_for_pages_for_ever(deployment):
    async with works(deployment):
        answer = await asked(deployment, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        assert answer.count(b"405 Method Not Allowed") == 100
    assert (await asyncio.to_thread(reached, deployment))["connect_refusals"] == 1


# ---- dials -----------------------------------------------------------------------------------------------------------


async def test_an_address_that_is_too_long(deployment):
    long = "a" * 1100 + ":1"
    async with works(deployment):
        answer = await asked(deployment, f"CONNECT {long} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 the address is longer than 1024 characters\r\n")
        async with grpc_peer.frontend(deployment) as client:  # our own client would not send this dial
            await client.say(wire.dial_req(long, 1))
            assert (await client.hear()).dialResponse.error == "the address is longer than 1024 characters"
    assert (await asyncio.to_thread(reached, deployment))["address_length"] == 2


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_dials_that_one_agent_does_not_answer(fresh, mode):
    """Beyond the limit of unanswered dials another agent is asked; without another agent the dial waits."""
    fresh.start_server("--max-pending-dials-per-agent=5", "--heartbeat-interval=0", "--backend-dial-timeout=1m")
    async with (
        listening(targets.echo) as address,
        grpc_peer.agent(fresh, "lazy", metadata=EXTENDED) as lazy,
        connect(**fresh.frontend(mode, unix=True)) as tunnel,
    ):
        waiting = [asyncio.create_task(tunnel.dial(address)) for _ in range(5)]
        asked = [(await lazy.hear()).dialRequest for _ in waiting]
        assert {each.address for each in asked} == {address}
        queued = [asyncio.create_task(tunnel.dial(f"node:{number}")) for number in range(3)]
        await until_reached(fresh, "pending_dials_per_agent", 3)
        queued[0].cancel()  # the agent never receives this dial
        await asyncio.gather(queued[0], return_exceptions=True)
        await lazy.say(wire.dial_rsp(asked[0].random, error="not today"))
        with pytest.raises(DialError, match="not today"):
            await waiting[0]
        assert (await lazy.hear()).dialRequest.address == "node:1"
        await asyncio.to_thread(fresh.start_agent)
        for _ in range(20):
            _, writer = await tunnel.dial(address)
            writer.close()
        for task in (*waiting, *queued):
            task.cancel()
        await asyncio.gather(*waiting, *queued, return_exceptions=True)


async def test_dials_of_one_frontend_that_are_not_answered(fresh):
    """All clients of the unix socket count as one frontend, a TCP address as another; cancelled dials do not count."""
    fresh.start_server("--max-pending-dials-per-frontend=5", "--heartbeat-interval=0", "--backend-dial-timeout=1m")
    async with (
        grpc_peer.agent(fresh, "lazy", metadata=EXTENDED) as lazy,
        connect(**fresh.frontend("http-connect", unix=True)) as hasty,
        connect(**fresh.frontend("grpc", unix=True)) as related,
        connect(**fresh.frontend("grpc", unix=False)) as other,
    ):
        waiting = [asyncio.create_task(hasty.dial("node:1")) for _ in range(5)]
        for _ in waiting:
            await lazy.hear()
        with pytest.raises(DialError, match="too many dials under way"):
            await related.dial("node:1")
        patient = asyncio.create_task(other.dial("node:2"))
        request = (await lazy.hear()).dialRequest
        await lazy.say(wire.dial_rsp(request.random, 1))
        _, writer = await patient
        assert await asyncio.to_thread(reached, fresh) == {"pending_dials_per_frontend": 1}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in waiting:
            await lazy.hear()  # receives the cancellations
        again = asyncio.create_task(related.dial("node:3"))
        request = (await lazy.hear()).dialRequest
        await lazy.say(wire.dial_rsp(request.random, 2))
        writer.close()
        (await again)[1].close()


@pytest.mark.parametrize(
    ("limit", "introduction", "text"),
    [
        ("agent_id_length", {"agentid": "a" * 257}, "the agent id has 257 characters; at most 256 are allowed"),
        ("agent_identifiers", {"agentidentifiers": f"host={'a' * 257}"}, "an agent identifier has 257 characters"),
        ("agent_identifiers", {"agentidentifiers": f"cidr={'1' * 257}"}, "an agent identifier has 257 characters"),
        ("agent_identifiers", {"agentidentifiers": "&".join(["host=a"] * 257)}, "the agent has 257 identifiers"),
        ("agent_identifiers", {"agentidentifiers": "x=y&" * 5000}, "the agent identifiers have 20000 characters"),
        ("agent_identifiers", {"agentidentifiers": "host=a%00b"}, "an agent identifier has control characters"),
        ("agent_identifiers", {"agentidentifiers": "host=%1B%5B2J"}, "an agent identifier has control characters"),
        ("agent_identifiers", {"agentidentifiers": "host=a%E2%80%AEb"}, "an agent identifier has control characters"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_an_agent_says_of_itself(deployment, limit, introduction, text):
    before = reached(deployment).get(limit, 0)
    fields = {"agentid": "a", "agentidentifiers": ""} | introduction
    channel = grpc.aio.secure_channel(f"localhost:{deployment.agent_port}", grpc_peer.credentials(deployment))
    async with works(deployment), channel:
        call = channel.stream_stream(grpc_peer.CONNECT)(metadata=tuple(fields.items()))
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (await call.details()).startswith(text)
        assert reached(deployment)[limit] == before + 1


async def test_an_agent_that_says_as_much_of_itself_as_it_may(deployment):
    names = "&".join(f"host={number:03}{'a' * 50}" for number in range(256))
    async with works(deployment), grpc_peer.agent(deployment, "a" * 256, names):
        pass

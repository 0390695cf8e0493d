"""HTTP CONNECT as a conversation: a client on a transport in memory, and an agent that answers."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT
from konnectivity_server.frontends.connect_frontend import MAX_EARLY, ConnectFrontend
from konnectivity_server.peer_limits import ConnectLimits
from support.memory_server import MemoryAgent, MemoryServer, advance, in_still_time
from support.memory_transport import MemoryTransport

CONNECT = b"CONNECT node:1 HTTP/1.1\r\nHost: node:1\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class Site:
    """Server with a CONNECT frontend and an agent."""

    def __init__(self, limits: ConnectLimits | None = None, agents: int = 1) -> None:
        self.server = MemoryServer()
        self.agents = self.server.agents(agents)
        self.frontend = ConnectFrontend(self.server.dials.dial, limits)

    @property
    def agent(self) -> MemoryAgent:
        return self.agents[0]

    def client(self, first: bytes = b"") -> MemoryTransport:
        return MemoryTransport(self.frontend.protocol(first))


@in_still_time
async def test_a_client_is_told_200_and_then_speaks_with_the_target():
    site = Site()
    client = site.client()
    client.says(CONNECT)
    assert client.written == b""
    target = site.agent.connects()
    assert client.written == ESTABLISHED
    client.says(b"question")
    site.agent.stream.deliver()
    assert target.received == b"question"
    target.connection.outbound.send(b"answer")
    site.agent.tunnel.stream.deliver()
    assert client.written == ESTABLISHED + b"answer"
    assert site.frontend.clients == 1
    client.vanishes()
    assert site.frontend.clients == 0
    site.agent.stream.deliver()
    assert target.aborted


@in_still_time
async def test_a_head_may_arrive_byte_by_byte():
    site = Site()
    client = site.client()
    for number in range(len(CONNECT)):
        client.says(CONNECT[number : number + 1])
    assert [dial.address for dial in site.agent.asked] == ["node:1"]


@in_still_time
async def test_bytes_that_were_read_before_belong_to_the_head():
    site = Site()
    site.client(first=CONNECT[:20]).says(CONNECT[20:])
    site.client(first=CONNECT)
    assert [dial.address for dial in site.agent.asked] == ["node:1", "node:1"]


@in_still_time
async def test_bytes_behind_the_head_wait_for_the_connection():
    site = Site()
    client = site.client()
    client.says(CONNECT + b"early ")
    client.says(b"bird")
    target = site.agent.connects()
    site.agent.stream.deliver()
    assert target.received == b"early bird"


@in_still_time
async def test_a_client_that_sends_much_before_the_answer_is_read_no_further():
    site = Site()
    client = site.client()
    client.says(CONNECT)
    client.says(bytes(MAX_EARLY - 1))
    assert client.reading
    client.says(b"x")
    assert not client.reading
    target = site.agent.connects()
    site.agent.stream.deliver()
    assert len(target.received) == MAX_EARLY
    site.agent.tunnel.stream.deliver()  # credit
    assert client.reading


@in_still_time
async def test_a_dial_that_fails_later_is_answered_and_the_socket_closed():
    site = Site()
    client = site.client()
    client.says(CONNECT)
    site.agent.fails("dial tcp node:1: connect: connection refused")
    assert client.written.startswith(b"HTTP/1.1 502 dial tcp node:1: connect: connection refused\r\n")
    assert client.ended
    assert site.frontend.clients == 0


@in_still_time
async def test_a_dial_that_fails_at_once_is_answered():
    site = Site(agents=0)
    client = site.client()
    client.says(CONNECT)
    assert client.written.startswith(b"HTTP/1.1 500 " + NO_AGENT.encode())
    assert client.ended
    assert site.frontend.clients == 0


@in_still_time
async def test_a_dial_without_an_answer_is_told_504():
    site = Site()
    client = site.client()
    client.says(CONNECT)
    await advance(10.1)
    assert client.written.startswith(b"HTTP/1.1 504 timed out waiting for backend dial\r\n")


@pytest.mark.parametrize("leave", [MemoryTransport.ends, MemoryTransport.vanishes])
@in_still_time
async def test_a_client_that_leaves_before_the_answer_cancels_its_dial(leave):
    site = Site()
    client = site.client()
    client.says(CONNECT)
    leave(client)
    await advance(0.0)
    assert [dial.cancelled for dial in site.agent.asked] == [True]
    assert site.frontend.clients == 0
    assert client.written == b""


@in_still_time
async def test_a_request_other_than_connect_is_refused_and_the_client_may_try_again():
    site = Site()
    client = site.client()
    client.says(GET + CONNECT)
    assert client.written.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert len(site.agent.asked) == 1


@in_still_time
async def test_a_client_that_never_says_connect_is_cut_off():
    limits = ConnectLimits(refusals=3)
    site = Site(limits)
    client = site.client()
    for _ in range(3):
        assert not client.ended
        client.says(GET)
    assert client.ended
    assert limits.reached == {"connect_refusals": 1}


@in_still_time
async def test_a_head_that_is_late_closes_the_socket():
    limits = ConnectLimits(head_timeout_s=5.0)
    site = Site(limits)
    client = site.client()
    client.says(CONNECT[:-1])
    await advance(4.9)
    assert not client.ended
    await advance(0.2)
    assert (client.ended, client.written) == (True, b"")
    assert limits.reached == {"connect_head_time": 1}


@in_still_time
async def test_a_head_in_time_stops_the_clock():
    site = Site(ConnectLimits(head_timeout_s=5.0))
    client = site.client()
    client.says(CONNECT)
    await advance(6.0)
    assert not client.ended
    site.agent.connects()
    assert client.written == ESTABLISHED


@in_still_time
async def test_a_head_that_is_too_large_is_refused_and_counted():
    limits = ConnectLimits(head_bytes=100)
    site = Site(limits)
    client = site.client()
    client.says(b"CONNECT node:1 HTTP/1.1\r\nX: " + b"x" * 100)
    assert client.written.startswith(b"HTTP/1.1 431 ")
    assert limits.reached == {"connect_head": 1}


@in_still_time
async def test_tls_bytes_are_refused_at_once():
    site = Site()
    client = site.client()
    client.says(b"\x16\x03\x01\x02\x00")
    assert client.written.startswith(b"HTTP/1.1 400 ")
    assert client.ended


@in_still_time
async def test_a_client_that_speaks_on_after_a_refusal_is_not_read_as_a_request():
    site = Site()
    client = site.client()
    client.says(b"nonsense\r\n\r\n")
    before = client.written
    client.says(CONNECT)
    assert client.written == before
    assert site.agent.asked == []

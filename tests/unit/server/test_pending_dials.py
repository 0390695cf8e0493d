"""Pending dials of a server: immediate refusals, limits, queues, peer servers and the list of failures."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, TOO_MANY_DIALS, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from support.memory_server import CLIENT, MemoryServer, advance, in_still_time


@in_still_time
async def test_dials_beyond_what_an_agent_may_be_asked_wait_their_turn():
    server = MemoryServer(per_agent=2)
    agent = server.agent()
    frontends = [server.dial(f"node:{number}")[0] for number in range(1, 5)]
    assert [dial.address for dial in agent.asked] == ["node:1", "node:2"]
    assert server.reached == {"pending_dials_per_agent": 2}
    assert agent.tunnel.unanswered == 4
    agent.connects(0)
    assert [dial.address for dial in agent.asked] == ["node:1", "node:2", "node:3"]
    agent.fails("dial tcp node:2: connect: connection refused", 1)
    agent.connects(2)
    agent.connects(3)
    assert [frontend.connection is not None for frontend in frontends] == [True, False, True, True]


@in_still_time
async def test_a_cancelled_dial_that_waits_its_turn_is_never_asked():
    server = MemoryServer(per_agent=1)
    agent = server.agent()
    server.dial("node:1")
    _, waiting = server.dial("node:2")
    server.dial("node:3")
    waiting.cancel()
    agent.connects(0)
    assert [dial.address for dial in agent.asked] == ["node:1", "node:3"]


@in_still_time
async def test_dials_that_wait_their_turn_go_to_another_agent_when_theirs_leaves():
    server = MemoryServer(per_agent=1)
    agent = server.agent("a")
    frontends = [server.dial()[0] for _ in range(3)]
    other = server.agent("b")
    agent.leaves()
    for number in range(3):
        other.connects(number)
    assert all(frontend.connection is not None for frontend in frontends)


@in_still_time
async def test_one_frontend_may_have_a_number_of_dials_pending_and_hinders_no_other():
    server = MemoryServer(per_frontend=2)
    agent = server.agent()
    server.dial(client=Peer("10.1.1.1:1000"))
    server.dial(client=Peer("10.1.1.1:1001"))
    with pytest.raises(DialError, match=TOO_MANY_DIALS) as caught:
        server.dial(client=Peer("10.1.1.1:1002"))
    assert caught.value.failure is DialFailure.FLOOD
    assert server.reached == {"pending_dials_per_frontend": 1}
    server.dial(client=Peer("10.2.2.2:1"))
    server.dial(client=Peer("10.1.1.1:1003"), relayed=True)  # dial of a peer server, which has its own limit
    agent.connects(0)
    assert server.dials.pending_of("10.1.1.1") == 2
    agent.connects(1)
    server.dial(client=Peer("10.1.1.1:1004"))


@in_still_time
async def test_without_an_agent_a_dial_fails_at_once():
    server = MemoryServer()
    with pytest.raises(DialError, match=NO_AGENT) as caught:
        server.dial()
    assert caught.value.failure is DialFailure.NO_AGENT
    assert server.dials.pending_of("10.1.1.1") == 0


@in_still_time
async def test_a_dial_is_refused_while_the_memory_is_used_up():
    server = MemoryServer()
    agent = server.agent()
    server.memory.used = server.memory.process_budget
    with pytest.raises(DialError, match="out of buffer memory") as caught:
        server.dial()
    assert caught.value.failure is DialFailure.BUDGET
    assert server.memory.refused_dials == 1
    server.memory.used = 0
    server.dial()
    assert len(agent.asked) == 1


@pytest.mark.parametrize(
    ("address", "text", "reached"),
    [
        ("n" * 2000 + ":1", "the address is longer than 1024 characters", {"address_length": 1}),
        ("ü" * 1000 + ":1", "the address is longer than 1024 characters", {"address_length": 1}),
        ("node", "missing port in address", {}),
        ("node:99999", "port", {}),
    ],
)
@in_still_time
async def test_a_text_that_is_no_address_is_refused_before_any_agent_is_asked(address, text, reached):
    server = MemoryServer()
    agent = server.agent()
    with pytest.raises(DialError, match=text) as caught:
        server.dial(address)
    assert caught.value.failure is DialFailure.ADDRESS
    assert server.reached == reached
    assert agent.asked == []


@in_still_time
async def test_an_address_of_an_unknown_network_is_left_to_the_agent():
    server = MemoryServer()
    agent = server.agent()
    server.dials.dial("no port here", server.dial("node:1")[0], CLIENT, "sctp")
    assert [(each.protocol, each.address) for each in agent.asked] == [("tcp", "node:1"), ("sctp", "no port here")]


@in_still_time
async def test_a_dial_that_no_agent_here_fits_goes_through_a_peer_server():
    server = MemoryServer()
    peer = server.peer("server-2")
    frontend, _ = server.dial()
    peer.connects()
    assert frontend.connection is not None


@in_still_time
async def test_a_dial_of_another_server_is_never_passed_on_to_a_third():
    server = MemoryServer()
    peer = server.peer("server-2")
    with pytest.raises(DialError, match=NO_AGENT):
        server.dial(relayed=True)
    assert peer.asked == []


@in_still_time
async def test_peer_servers_without_an_agent_are_asked_one_after_another_however_many():
    server = MemoryServer()
    peers = [server.peer(f"server-{number}") for number in range(2, 9)]
    frontend, _ = server.dial()
    for peer in peers[:-1]:
        peer.fails(NO_AGENT)
        assert frontend.errors == []
    peers[-1].fails(NO_AGENT)
    assert (frontend.error.failure, str(frontend.error)) == (DialFailure.NO_AGENT, NO_AGENT)
    assert server.dials.retried == 6
    assert server.reached == {}


@in_still_time
async def test_failed_dials_are_listed_with_destination_agent_reason_and_time():
    server = MemoryServer()
    agent = server.agent("node-1")
    server.dial("node:1")
    await advance(2.5)
    agent.fails("dial tcp node:1: i/o timeout")
    server.dial("node:2")[1].cancel()
    listed = {each["destination"]: each for each in server.dials.failures.listed()}
    assert listed["node:1"]["reason"] == "error_response"
    assert listed["node:1"]["agent"] == "node-1"
    assert listed["node:1"]["text"] == "dial tcp node:1: i/o timeout"
    assert listed["node:1"]["took"] == 2.5
    assert listed["node:1"]["origin"] == CLIENT.name
    assert listed["node:2"]["reason"] == "frontend_close"

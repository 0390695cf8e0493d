"""Dials through the server as conversations: a frontend, the pending dials, and agents in memory."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, NO_DESCRIPTORS, NO_MEMORY, TOO_MANY_DIALS, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity_server.audit.audit_records import DialRecord
from konnectivity_server.pending_dials import MAX_RETRIES
from support.memory_server import CLIENT, MemoryServer, advance, asked_one, in_still_time


@in_still_time
async def test_a_dial_is_asked_of_an_agent_and_its_connection_is_handed_to_the_frontend():
    server = MemoryServer()
    agent = server.agent()
    frontend, dial = server.dial("node:1")
    assert [(each.protocol, each.address) for each in agent.asked] == [("tcp", "node:1")]
    assert (frontend.connection, frontend.errors, dial.ended) == (None, [], False)
    target = agent.connects()
    assert dial.ended
    assert frontend.connection is not None
    assert (frontend.connection.destination, frontend.connection.origin) == ("node:1", CLIENT.name)
    frontend.connection.outbound.send(b"hello")
    agent.stream.deliver()
    assert target.received == b"hello"


@in_still_time
async def test_an_error_of_the_target_is_told_and_no_other_agent_is_asked():
    server = MemoryServer()
    agents = server.agents(2)
    frontend, _ = server.dial()
    asked_one(agents).fails("dial tcp node:1: connect: connection refused")
    assert frontend.error.failure is DialFailure.ENDPOINT
    assert str(frontend.error) == "dial tcp node:1: connect: connection refused"
    assert server.dials.retried == 0
    assert server.traffic.dial_failures == {"error_response": 1}


@pytest.mark.parametrize("text", [NO_MEMORY, TOO_MANY_DIALS, f"dial tcp node:1: {NO_DESCRIPTORS}", NO_AGENT])
@in_still_time
async def test_a_dial_that_an_agent_declines_goes_to_another_and_the_first_is_spared(text):
    server = MemoryServer()
    agents = server.agents(2)
    frontend, _ = server.dial()
    first = asked_one(agents)
    first.fails(text)
    second = asked_one(agents)
    assert second is not first
    assert (first.tunnel.declining, second.tunnel.declining) == (True, False)
    second.connects()
    assert frontend.connection is not None
    assert server.dials.retried == 1


@pytest.mark.parametrize(("text", "failure"), [(NO_MEMORY, DialFailure.BUDGET), (TOO_MANY_DIALS, DialFailure.FLOOD)])
@in_still_time
async def test_when_every_agent_declines_the_frontend_is_told_why(text, failure):
    server = MemoryServer()
    agents = server.agents(3)
    frontend, _ = server.dial()
    for _ in agents:
        asked_one(agents).fails(text)
    assert (frontend.error.failure, str(frontend.error)) == (failure, text)
    assert server.dials.retried == 2


@in_still_time
async def test_the_words_of_a_server_from_an_agent_are_told_as_an_agents_words():
    server = MemoryServer()
    agent = server.agent()
    frontend, _ = server.dial()
    agent.fails(NO_AGENT)
    assert frontend.error.failure is DialFailure.ENDPOINT
    assert str(frontend.error) == "the agent answered 'No agent available'"


@in_still_time
async def test_a_dial_whose_agent_leaves_goes_to_another():
    server = MemoryServer()
    agents = server.agents(2)
    frontend, _ = server.dial()
    first = asked_one(agents)
    first.leaves()
    agents.remove(first)
    assert frontend.errors == []
    asked_one(agents).connects()
    assert frontend.connection is not None


@in_still_time
async def test_a_dial_whose_only_agent_leaves_fails():
    server = MemoryServer()
    agent = server.agent()
    frontend, _ = server.dial()
    agent.leaves()
    assert (frontend.error.failure, str(frontend.error)) == (DialFailure.TUNNEL_LOST, "the agent left")


@pytest.mark.parametrize(("relayed", "tries"), [(False, 1 + MAX_RETRIES), (True, 2)])
@in_still_time
async def test_a_dial_that_costs_agents_their_tunnel_reaches_few_of_them(relayed, tries):
    server = MemoryServer()
    agents = server.agents(6)
    frontend, _ = server.dial(relayed=relayed)
    for _ in range(tries):
        assert frontend.errors == []
        agent = asked_one(agents)
        agent.leaves()
        agents.remove(agent)
    assert frontend.error.failure is DialFailure.TUNNEL_LOST
    assert server.reached == {"dial_attempts": 1}
    assert not any(agent.asked for agent in agents)


@in_still_time
async def test_dials_of_a_silent_agent_go_to_another_and_the_silent_one_is_told_to_forget_them():
    server = MemoryServer()
    silent = server.agent("silent")
    frontends = [server.dial()[0] for _ in range(3)]
    other = server.agent("other")
    server.dials.retry_all_of(silent.tunnel)
    assert len(other.asked) == 3
    assert all(dial.cancelled for dial in silent.asked)
    for number in range(3):
        other.connects(number)
    assert all(frontend.connection is not None for frontend in frontends)
    assert server.traffic.dial_failures == {}


@in_still_time
async def test_dials_of_the_only_agent_wait_on_while_it_is_silent():
    server = MemoryServer()
    silent = server.agent()
    frontend, _ = server.dial()
    server.dials.retry_all_of(silent.tunnel)
    silent.connects()
    assert frontend.connection is not None


@in_still_time
async def test_a_dial_without_an_answer_fails_at_its_deadline_and_the_agent_is_told():
    server = MemoryServer(timeout_s=10.0)
    agent = server.agent()
    frontend, dial = server.dial()
    await advance(9.9)
    assert frontend.errors == []
    await advance(0.2)
    assert frontend.error.failure is DialFailure.TIMEOUT
    assert dial.ended
    assert [each.cancelled for each in agent.asked] == [True]
    assert server.traffic.dial_failures == {"backend_dial_timeout": 1}


@in_still_time
async def test_one_deadline_holds_for_all_tries_together():
    server = MemoryServer(timeout_s=10.0)
    agents = server.agents(2)
    frontend, _ = server.dial()
    await advance(6.0)
    asked_one(agents).fails(NO_MEMORY)
    await advance(3.9)
    assert frontend.errors == []
    await advance(0.2)
    assert frontend.error.failure is DialFailure.TIMEOUT


@in_still_time
async def test_without_a_timeout_a_dial_waits_until_its_agent_answers():
    server = MemoryServer(timeout_s=0.0)
    agent = server.agent()
    frontend, _ = server.dial()
    await advance(86_400.0)
    agent.connects()
    assert frontend.connection is not None


@in_still_time
async def test_after_the_answer_the_deadline_means_nothing():
    server = MemoryServer(timeout_s=10.0)
    agent = server.agent()
    frontend, _ = server.dial()
    agent.connects()
    await advance(60.0)
    assert frontend.errors == []
    assert server.traffic.dial_failures == {}


@in_still_time
async def test_a_dial_that_the_client_cancels_is_told_to_the_agent_and_not_to_the_frontend():
    server = MemoryServer()
    agent = server.agent()
    frontend, dial = server.dial()
    dial.cancel()
    dial.cancel()
    assert [each.cancelled for each in agent.asked] == [True]
    await advance(60.0)
    assert (frontend.connection, frontend.errors) == (None, [])
    assert server.traffic.dial_failures == {"frontend_close": 1}
    assert server.dials.pending_of("10.1.1.1") == 0


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "reference"])
@in_still_time
async def test_a_connection_that_comes_after_the_cancellation_is_closed(extension):
    server = MemoryServer()
    agent = server.agent(extension=extension)
    frontend, dial = server.dial()
    (incoming,) = agent.asked
    dial.cancel()
    socket = agent.connects_to(incoming)  # before the cancellation arrives
    agent.stream.deliver()
    assert frontend.connection is None
    assert socket.aborted or socket.closed
    assert not agent.end.connections
    assert server.traffic.dial_failures == {"frontend_close": 1, "unrecognized_response": 1}


@in_still_time
async def test_a_connection_that_the_frontend_no_longer_wants_is_reset_and_counted():
    server = MemoryServer()
    agent = server.agent()
    frontend, _ = server.dial()
    frontend.wanted = False
    socket = agent.connects()
    agent.stream.deliver()
    assert socket.aborted == "nobody waits for this connection"
    assert server.traffic.dial_failures == {"send_rsp": 1}


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
    server.dial(client=Peer("10.1.1.1:1003"), relayed=True)  # of another server, which has a limit itself
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


class Audit:
    """Audit log that keeps its records."""

    def __init__(self) -> None:
        self.records = []

    def record(self, destination, protocol, client, relayed):
        return DialRecord(self.records.append, set(), lambda: 0.0, "1", destination, protocol, client, relayed)


def audited() -> tuple[MemoryServer, list[dict]]:
    server, audit = MemoryServer(), Audit()
    server.dials.record_in(audit)  # type: ignore[arg-type]
    return server, audit.records


@in_still_time
async def test_the_audit_record_names_the_agent_that_answered():
    server, records = audited()
    agents = server.agents(2)
    frontend, _ = server.dial("node:1")
    asked_one(agents).fails(NO_MEMORY)
    second = asked_one(agents)
    second.connects()
    assert [record["event"] for record in records] == ["dialled"]
    assert records[0]["agent"]["id"] == second.tunnel.agent_id
    frontend.connection.outbound.send(b"12345")
    frontend.connection.local_lost("broken")
    assert (records[1]["event"], records[1]["cause"], records[1]["side"]) == ("closed", "reset", "client")
    assert records[1]["bytes_to_destination"] == 5


@in_still_time
async def test_the_audit_log_has_one_record_of_each_dial_that_was_refused():
    server, records = audited()
    with pytest.raises(DialError):
        server.dial("node:1")
    agent = server.agent()
    server.dial("node:2")
    agent.fails("dial tcp node:2: connect: connection refused")
    server.dial("node:3")[1].cancel()
    server.dial("node:4")
    await advance(60.0)
    assert [(record["event"], record["destination"], record["cause"]) for record in records] == [
        ("refused", "node:1", "no_agent"),
        ("refused", "node:2", "error_response"),
        ("refused", "node:3", "frontend_close"),
        ("refused", "node:4", "backend_dial_timeout"),
    ]

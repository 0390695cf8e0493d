"""Pending dial through the server: its frontend, its tries, its deadline and its audit record."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, NO_DESCRIPTORS, NO_MEMORY, TOO_MANY_DIALS, DialError, DialFailure
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


class Audit:
    """Audit log that keeps its records."""

    def __init__(self) -> None:
        self.records = []

    def record(self, destination, protocol, client, relayed, asked_for=""):
        return DialRecord(self.records.append, {}, lambda: 0.0, "1", destination, protocol, client, relayed)


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

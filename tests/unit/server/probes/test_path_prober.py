"""Tests of the prober with agents in memory, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import pytest

from konnectivity.tunnel.serving import IncomingDial
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.probes.path_prober import PathProber
from konnectivity_server.probes.path_record import PathRecord
from konnectivity_server.probes.probe_classes import ProbeClass, parse
from konnectivity_server.probes.probe_tls import ProbeTls
from support.memory_dials import MemorySocket
from support.memory_server import MemoryAgent, MemoryServer, advance, in_still_time
from support.memory_streams import MemoryStream

INTERVAL_S = 15.0
REFUSED = "dial tcp node:1: connect: connection refused"


class Probed:
    """Server in memory with a prober; agents are made with `agent`."""

    def __init__(self, *probes: str, rate: int = 25) -> None:
        self.server = MemoryServer()
        loop = asyncio.get_running_loop()
        self.news: list[tuple[str, str]] = []
        tls = ProbeTls("", "", "", loop.time, loop.time)
        classes = parse(probes or ("node=node:1",))
        self.prober = PathProber(
            classes, INTERVAL_S, self.server.registry, self.server.memory, tls, rate, loop.time, loop.time
        )
        self.prober.news = self

    def path_changed(self, agent: AgentTunnel, probe: ProbeClass, record: PathRecord) -> None:
        self.news.append((agent.agent_id, record.state))

    async def agent(self, agent_id: str = "a", extension: bool = True) -> MemoryAgent:
        agent = self.server.agent(agent_id, extension)
        self.prober.agents_changed()
        await advance(0.2)
        return agent

    async def dialled(self, agent: MemoryAgent, within_s: float = INTERVAL_S) -> None:
        """Advance the clock until the agent has an unanswered dial."""
        for _ in range(int(within_s * 10)):
            if agent.asked and agent.dials[-1].random in agent.end.opening:
                return
            await advance(0.1)
        raise AssertionError("no dial")

    def of(self, agent: MemoryAgent) -> Sequence[PathRecord]:
        return self.prober.records()[agent.tunnel]


@in_still_time
async def test_a_probe_dials_through_its_agent_and_a_connection_is_a_pass() -> None:
    probed = Probed()
    agent, other = await probed.agent("a"), await probed.agent("b")
    await probed.dialled(agent)
    assert agent.dials[-1].address == "node:1"
    socket = agent.connects()
    assert probed.of(agent)[0].state == "passing"
    assert probed.of(other)[0].state == "unknown"
    agent.asked  # noqa: B018 - the agent reads
    assert socket.aborted, "the connection is not kept"
    assert not agent.tunnel.connections


@in_still_time
async def test_dials_of_probes_change_neither_the_counters_of_clients_nor_the_load() -> None:
    probed = Probed()
    agent = await probed.agent()
    load = agent.tunnel.load
    for answer in ("connects", "fails", "fails"):
        await probed.dialled(agent)
        agent.connects() if answer == "connects" else agent.fails(REFUSED)
    traffic = probed.server.traffic
    assert (traffic.opened, traffic.dial_failures, traffic.closed) == (0, {}, {})
    assert traffic.dial_seconds.count == traffic.durations.count == 0
    assert agent.tunnel.load == load
    assert probed.prober.results == {("node", "passed"): 1, ("node", "refused"): 2}


@in_still_time
async def test_a_fault_is_confirmed_and_told_once_and_its_end_as_well() -> None:
    probed = Probed()
    agent = await probed.agent()
    await probed.dialled(agent)
    agent.connects()
    for _ in range(3):
        await probed.dialled(agent, 4 * INTERVAL_S)
        agent.fails(REFUSED)
    record = probed.of(agent)[0]
    assert (record.state, record.fault and record.fault.layer) == ("failing", "tcp")
    await probed.dialled(agent, 5 * INTERVAL_S)
    agent.connects()
    assert [state for _, state in probed.news] == ["passing", "failing", "passing"]


@in_still_time
async def test_a_target_that_does_not_answer_is_told_from_an_agent_that_does_not() -> None:
    probed = Probed()
    agent = await probed.agent()
    await probed.dialled(agent)
    agent.tunnel.stream.heard_at = asyncio.get_running_loop().time() + 1  # it answers pings
    await advance(2.1)
    record = probed.of(agent)[0]
    assert (record.state, record.fault and record.fault.reason) == ("suspect", "no_answer")
    agent.tunnel.stream.heard_at = 0.0
    await probed.dialled(agent)
    await advance(2.1)
    await advance(1.1)
    assert record.fault
    assert record.fault.reason == "agent_frozen"


@in_still_time
async def test_a_process_that_stood_still_blames_nobody() -> None:
    probed = Probed()
    agent = await probed.agent()
    await probed.dialled(agent)
    await advance(60.0)
    assert probed.of(agent)[0].state == "unknown"
    agent.connects()
    assert probed.of(agent)[0].state == "passing"


@in_still_time
async def test_paths_of_an_agent_that_left_are_forgotten() -> None:
    probed = Probed("a=node:1", "b=node:2,tls")
    agent = await probed.agent()
    await probed.dialled(agent)
    agent.leaves()
    probed.prober.agents_changed()
    await advance(0.2)
    assert not probed.prober.records()
    assert not probed.news, "no fault of a target"
    condition = probed.prober.data_plane.condition()
    assert (condition["status"], condition["reason"]) == ("False", "NoAgents")
    await advance(60.0)


@in_still_time
async def test_an_agent_without_the_identifier_of_a_class_is_skipped() -> None:
    probed = Probed("kubelet={ipv4}:10250,tls")
    agent = await probed.agent()
    await advance(30.0)
    assert probed.of(agent)[0].state == "skipped"
    assert not agent.asked
    assert probed.prober.data_plane.condition()["reason"] == "NothingToProbe"


@in_still_time
async def test_a_busy_agent_is_probed_later() -> None:
    probed = Probed()
    agent = await probed.agent()
    probed.server.memory.used = probed.server.memory.process_budget
    await advance(10.0)
    assert probed.prober.put_off > 0
    assert not agent.asked
    probed.server.memory.used = 0
    await probed.dialled(agent)


@in_still_time
async def test_the_condition_needs_one_agent_that_passes_all_its_probes() -> None:
    probed = Probed("a=node:1", "b=node:2")
    condition = probed.prober.data_plane.condition
    assert condition()["status"] == "Unknown"
    agents = [await probed.agent("a"), await probed.agent("b")]
    assert condition()["status"] == "Unknown"

    async def answer(agent: MemoryAgent, *broken: str, seconds: float = 30.0) -> None:
        for _ in range(int(seconds * 10)):
            await advance(0.1)
            for dial in list(agent.asked):
                if dial.random in agent.end.opening:
                    if dial.address in broken:
                        dial.failed(REFUSED)
                    else:
                        agent.connects_to(dial)
                    agent.stream.other.deliver()

    await answer(agents[0], "node:2", seconds=5.0)
    assert (condition()["status"], condition()["reason"]) == ("False", "PathsFail")
    assert "no agent passes its probes: " in (probed.prober.data_plane.trouble() or "")
    agents[1].leaves()
    probed.prober.agents_changed()
    await answer(agents[0], seconds=20.0)
    found = condition()
    assert (found["status"], found["reason"]) == ("True", "PathsPass")
    assert found["type"] == "DataPlaneConnectionAvailable"
    assert found["lastTransitionTime"].startswith("1970-01-01T00:1")
    assert probed.prober.data_plane.trouble() is None


@in_still_time
@pytest.mark.parametrize("extension", [True, False], ids=["extension", "reference"])
async def test_an_http_probe_reads_the_answer_through_the_tunnel(extension: bool) -> None:
    probed = Probed("web=node:1,http:/healthz")
    agent = await probed.agent(extension=extension)
    await probed.dialled(agent)
    socket = agent.connects()
    agent.asked  # noqa: B018 - the agent reads
    assert bytes(socket.received).startswith(b"GET /healthz HTTP/1.1\r\nHost: node:1\r\n")
    assert socket.connection is not None
    socket.connection.outbound.send(b"HTTP/1.1 503 Down\r\n\r\n")
    agent.stream.other.deliver()
    record = probed.of(agent)[0]
    assert (record.state, record.fault and record.fault.text) == ("suspect", "HTTP status 503")
    assert set(record.seconds) == {"dial", "first_byte"}


@in_still_time
async def test_a_prober_that_stopped_dials_nothing_more() -> None:
    probed = Probed()
    agent = await probed.agent()
    await probed.dialled(agent)
    probed.prober.stop()
    count = len(agent.asked)
    probed.prober.agents_changed()
    await advance(60.0)
    assert len(agent.asked) == count
    assert agent.dials[-1].random not in agent.end.opening, "it was withdrawn"


def lively(agent: MemoryAgent, random: Random) -> None:
    """Let the messages of an agent and its server arrive by themselves, and answer its dials."""
    loop = asyncio.get_running_loop()
    for stream in (agent.stream, agent.stream.other):
        stream.send = partial(_sent, stream.send, stream.other, loop, random)  # type: ignore[method-assign]

    def opened(dial: IncomingDial) -> None:
        took_s = 1.5 if random.random() < 0.01 else random.random() / 10
        loop.call_later(took_s, lambda: dial.connected(MemorySocket()) if dial.random in agent.end.opening else None)

    agent.end._opener = opened


def _sent(
    send: Callable[..., None], other: MemoryStream, loop: asyncio.AbstractEventLoop, random: Random, *message: bytes
) -> None:
    send(*message)
    loop.call_later(random.random() / 20, other.deliver)


def connected(probed: Probed, number: int) -> MemoryAgent:
    """Return a new agent, of which the prober hears."""
    agent = probed.server.agent(f"agent-{number}")
    probed.prober.agents_changed()
    return agent


@pytest.mark.parametrize(("agents", "seconds"), [(10, 3600.0), (1000, 30.0)])
async def test_an_hour_without_a_fault_has_no_false_alarm(agents: int, seconds: float) -> None:
    """Ten agents for an hour, and a thousand for half a minute."""
    probed = Probed("kubelet=node:10250", "other=node:1", rate=200)
    random = Random(7)
    for number in range(agents):
        lively(connected(probed, number), random)
    await asyncio.sleep(20.0)
    assert {state for _, state in probed.news} == {"passing"}
    probed.news.clear()
    await asyncio.sleep(seconds)
    assert probed.news == []
    assert probed.prober.results.keys() == {("kubelet", "passed"), ("other", "passed")}
    assert sum(probed.prober.results.values()) > 2 * agents * seconds / INTERVAL_S
    assert probed.prober.data_plane.condition()["reason"] == "PathsPass"

"""Agents of a server in memory: admission, registration, refusal, dials, silence and the end."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.proto.client_pb2 import Packet
from konnectivity.runtime import task_guard
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.heartbeat import DEAD_AFTER_S, SUSPECT_AFTER_S
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import packet_types
from konnectivity_server.agents.agent_service import Admission, AgentService, announce_server_count
from konnectivity_server.agents.agent_tunnel import SETTLED_S, AgentTunnel
from konnectivity_server.agents.credential_identity import Account
from konnectivity_server.registry import Registry
from support.memory_streams import MemoryStream, stream_pair

USER = "system:serviceaccount:kube-system:konnectivity-agent"


class AgentStream(MemoryStream):
    """Server's end of an agent's stream, which keeps the answer of the server."""

    def __init__(self, agent_id, extension=False, identifiers="", address="192.0.2.1:1", certificate=None):
        super().__init__("agent")
        offer = Extension(65_536).header() if extension else {}
        self.metadata = Metadata([("agentid", agent_id), ("agentidentifiers", identifiers), *offer.items()])
        self.peer = Peer(address, certificate)
        self.accepted_with = None
        self.finished: Status | None = None
        _, self.other = stream_pair()
        self.other.other = self

    silent_since = None  # None: every ping is answered

    @property
    def heard_at(self):
        return asyncio.get_running_loop().time() if self.silent_since is None else self.silent_since

    def accept(self, metadata):
        self.accepted_with = metadata

    def finish(self, status=Status(Code.OK, "")):  # noqa: B008 - never changed
        self.finished = self.finished or status
        super().finish(status)

    @property
    def packets(self):
        return [Packet.FromString(message).type for message in self.other.inbox]


class Authenticator:
    """Authenticator that accepts every agent after a second, unless the test makes it refuse or raise."""

    error: Exception | None = None

    async def check(self, metadata, peer):
        await asyncio.sleep(1.0)
        if self.error is not None:
            raise self.error
        return Account(USER)


class Server:
    """Agent service, and the events that it reports."""

    def __init__(self, tasks, authenticator=None, verifier=None, heartbeat_s=0.0):
        now = asyncio.get_running_loop().time
        self.registry: Registry[AgentTunnel] = Registry()
        self.reached: Counter[str] = Counter()
        self.options = TunnelOptions(reached=self.reached, clock=now)
        self.suspects = []
        self.changes = 0
        self.service = AgentService(
            self.registry,
            self.options,
            "server-1",
            lambda: 3,
            tasks,
            heartbeat_s,
            100,
            self.suspects.append,
            self._changed,
            authenticator,
            verifier,
            now,
        )

    def _changed(self):
        self.changes += 1

    def connect(self, agent_id="a", **how):
        stream = AgentStream(agent_id, **how)
        stream.receiver = self.service.connect(stream)
        return stream


@pytest.fixture
async def tasks():
    async with asyncio.TaskGroup() as tasks:
        yield tasks


@pytest.fixture
async def server(tasks):
    return Server(tasks)


# ---- registration ---------------------------------------------------------------------------------------------------


async def test_an_agent_is_told_the_server_and_registered(server):
    stream = server.connect("node-7", identifiers="host=node-7.example")
    assert stream.accepted_with == {"serverid": "server-1", "servercount": "3"}
    assert list(server.registry.at("node-7.example")) == [stream.receiver]
    assert server.changes == 1


async def test_only_an_agent_that_offers_the_extension_is_offered_it(server):
    plain, extended = server.connect("a"), server.connect("b", extension=True)
    assert "konnectivity-extension" not in plain.accepted_with
    assert "instance=" in extended.accepted_with["konnectivity-extension"]
    assert (plain.receiver.extension, extended.receiver.extension) == (None, Extension(65_536))


async def test_an_agent_without_an_id_is_refused(server):
    stream = AgentStream("a")
    stream.metadata = Metadata(())
    with pytest.raises(RpcError):
        server.service.connect(stream)
    assert len(server.registry) == 0


async def test_the_end_of_a_stream_removes_the_agent(server):
    stream = server.connect("node-7")
    stream.abort("the agent left")
    assert len(server.registry) == 0
    assert server.changes == 2
    (departure,) = server.service.departures()
    assert (departure["id"], departure["peer"]) == ("node-7", "192.0.2.1:1")
    assert "the agent left" in departure["reason"]


async def test_two_agents_with_one_id_are_counted_and_logged(server, caplog):
    certificates = [{"subject": ((("commonName", name),),)} for name in ("one", "two")]
    first, second = (server.connect("same", certificate=each) for each in certificates)
    assert server.service.conflicts == 1
    assert not second.receiver.known
    (line,) = [each for each in caplog.records if each.getMessage() == "Two agents with one id"]
    assert line.fields["other"] == "certificate commonName=one (no names)"
    assert len(server.registry) == 2
    assert first.receiver is not second.receiver


async def test_another_stream_of_a_connected_agent_is_a_duplicate_for_a_moment(server):
    certificate = {"subject": ((("commonName", "node-7"),),)}
    first, second = (server.connect("node-7", certificate=certificate) for _ in range(2))
    assert (first.receiver.duplicate, second.receiver.duplicate) == (False, True)
    await asyncio.sleep(SETTLED_S)
    assert not second.receiver.duplicate
    assert server.service.conflicts == 0


async def test_the_number_of_servers_is_told_to_agents_that_speak_the_extension(server):
    plain, extended = server.connect("a"), server.connect("b", extension=True)
    announce_server_count(server.registry, 5)
    assert packet_types.SERVER_COUNT not in plain.packets
    assert extended.packets == [packet_types.SERVER_COUNT]


async def test_a_draining_server_tells_its_agents(server):
    stream = server.connect("a", extension=True)
    stream.receiver.send_drain()
    assert stream.packets == [packet_types.DRAIN]


async def test_an_agent_that_stops_answering_is_reported_and_given_up_in_the_end(tasks):
    server, loop = Server(tasks, heartbeat_s=10.0), asyncio.get_running_loop()
    stream = server.connect("a")
    agent = stream.receiver
    stream.silent_since = loop.time()
    await asyncio.sleep(10.0 + SUSPECT_AFTER_S + 1.0)
    assert agent.suspect
    assert (server.suspects, server.service.fell_silent) == ([agent], 1)
    assert list(server.registry.all()) == [agent]
    await asyncio.sleep(DEAD_AFTER_S)
    assert len(server.registry) == 0
    assert "answers no ping" in server.service.departures()[0]["reason"]


async def test_a_silent_agent_that_answers_again_is_used_again(tasks):
    server = Server(tasks, heartbeat_s=10.0)
    stream = server.connect("a")
    stream.silent_since = asyncio.get_running_loop().time()
    await asyncio.sleep(10.0 + SUSPECT_AFTER_S + 1.0)
    changes = server.changes
    stream.silent_since = None
    await asyncio.sleep(1.0)
    assert not stream.receiver.suspect
    assert server.changes == changes + 1


# ---- admission ------------------------------------------------------------------------------------------------------


async def test_an_agent_is_registered_when_its_token_is_accepted(tasks):
    server = Server(tasks, Authenticator())
    stream = server.connect("a")
    assert isinstance(stream.receiver, Admission)
    assert (len(server.registry), stream.accepted_with) == (0, None)
    await asyncio.sleep(2.0)
    assert isinstance(stream.receiver, AgentTunnel)
    assert (stream.receiver.user, stream.receiver.holder) == (USER, f"token of {USER}")


async def test_an_agent_whose_token_is_refused_gets_the_reason(tasks):
    authenticator = Authenticator()
    authenticator.error = RpcError(Code.UNKNOWN, "the token is not valid")
    server = Server(tasks, authenticator)
    stream = server.connect("a")
    await asyncio.sleep(2.0)
    assert stream.finished == Status(Code.UNKNOWN, "the token is not valid")
    assert (server.service.refused, len(server.registry)) == (1, 0)


async def test_an_agent_whose_claims_exceed_its_credential_is_refused(tasks):
    class Verifier:
        async def check(self, agent_id, peer, account, claimed):
            assert (agent_id, account, claimed.host) == ("a", Account(USER), ("node-8",))
            raise RpcError(Code.PERMISSION_DENIED, "claims too much")

    server = Server(tasks, Authenticator(), Verifier())
    stream = server.connect("a", identifiers="host=node-8")
    await asyncio.sleep(2.0)
    assert stream.finished == Status(Code.PERMISSION_DENIED, "claims too much")


async def test_an_exception_during_admission_ends_the_call_and_nothing_else(tasks):
    authenticator, before = Authenticator(), task_guard.counts["admission"]
    authenticator.error = ZeroDivisionError("broken on purpose")
    server = Server(tasks, authenticator)
    stream = server.connect("a")
    await asyncio.sleep(2.0)
    assert stream.finished == Status(Code.INTERNAL, "internal error of the server")
    assert task_guard.counts["admission"] == before + 1
    authenticator.error = None
    other = server.connect("b")
    await asyncio.sleep(2.0)
    assert list(server.registry.all()) == [other.receiver]


async def test_an_agent_that_leaves_during_admission_is_not_registered(tasks):
    server = Server(tasks, Authenticator())
    stream = server.connect("a")
    await asyncio.sleep(0.5)
    stream.abort("gone")
    await asyncio.sleep(2.0)
    assert (len(server.registry), server.service.refused, stream.accepted_with) == (0, 0, None)


async def test_a_packet_before_the_admission_ends_the_call(tasks):
    server = Server(tasks, Authenticator())
    stream = server.connect("a")
    stream.receiver.message_received(memoryview(b""))
    assert stream.finished is not None
    assert stream.finished.code is Code.FAILED_PRECONDITION
    await asyncio.sleep(2.0)
    assert len(server.registry) == 0

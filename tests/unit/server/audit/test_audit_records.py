"""Audit records of one dial, on a clock that a test moves."""

from __future__ import annotations

import pytest

from konnectivity.errors import REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer, PeerProcess
from konnectivity.tunnel.connection import Connection
from konnectivity_server.audit.audit_records import DialRecord, client_of
from support.memory_server import MemoryServer, in_still_time

CERTIFICATE = {"subject": ((("commonName", "kube-apiserver"),),)}
CLIENT = Peer("10.1.1.1:1", CERTIFICATE)


class Audited:
    """Dial record, the records it wrote, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.written: list[dict] = []
        self.running: dict[DialRecord, None] = {}
        self.record = DialRecord(
            self.written.append, self.running, lambda: self.now, "0123456789abcdef", "node:1", "tcp", CLIENT, False
        )

    def dialled(self) -> tuple[MemoryServer, Connection]:
        """Record a connection through an agent in memory."""
        server = MemoryServer()
        agent = server.agent("node-1")
        frontend, _ = server.dial("node:1")
        agent.connects()
        assert frontend.connection is not None
        self.record.asking(agent.tunnel)
        self.record.dialled(frontend.connection)
        return server, frontend.connection


def test_a_refused_dial_is_one_record_with_the_time_it_took():
    audited = Audited()
    audited.now += 2.5
    audited.record.refused(DialError(DialFailure.ENDPOINT, "connection refused"))
    audited.record.refused(DialError(DialFailure.CANCELLED, "again"))
    assert audited.written == [
        {
            "event": "refused",
            "connection": "0123456789abcdef",
            "client": {"address": "10.1.1.1:1", "certificate": "kube-apiserver"},
            "relayed": False,
            "protocol": "tcp",
            "destination": "node:1",
            "seconds": 2.5,
            "cause": "error_response",
            "reason": "connection refused",
        }
    ]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DialError(DialFailure.ENDPOINT, f"dial tcp node:1: {REFUSED_BY_POLICY}: node:1"), "policy"),
        (DialError(DialFailure.TIMEOUT, REFUSED_BY_POLICY), "backend_dial_timeout"),
        (DialError(DialFailure.NO_AGENT, "No agent available"), "no_agent"),
    ],
)
def test_the_cause_of_a_refusal(error, cause):
    audited = Audited()
    audited.record.refused(error)
    assert audited.written[0]["cause"] == cause


@in_still_time
async def test_a_connection_is_recorded_when_it_opens_and_when_it_ends():
    audited = Audited()
    audited.now += 1.0
    _, connection = audited.dialled()
    assert list(audited.running) == [audited.record]
    connection.outbound.send(b"12345")
    audited.now += 30.0
    connection.local_lost("broken pipe")
    opened, closed = audited.written
    assert (opened["event"], opened["seconds"], opened["agent"]["id"]) == ("dialled", 1.0, "node-1")
    assert (closed["event"], closed["seconds"]) == ("closed", 30.0)
    assert (closed["bytes_to_destination"], closed["bytes_from_destination"]) == (5, 0)
    assert (closed["cause"], closed["side"], closed["reason"]) == ("reset", "client", "broken pipe")
    assert closed["agent_connection"] == opened["agent_connection"]
    assert not audited.running


@in_still_time
async def test_a_server_that_ends_first_records_the_end_once():
    audited = Audited()
    _, connection = audited.dialled()
    audited.record.cut("the server is shutting down")
    connection.local_lost("broken pipe")
    audited.record.cut("again")
    assert [record["event"] for record in audited.written] == ["dialled", "closed"]
    assert (audited.written[1]["cause"], audited.written[1]["side"]) == ("tunnel_lost", "server")


@in_still_time
async def test_the_backend_that_was_asked_last_is_the_one_that_is_named():
    server = MemoryServer()
    first, second, peer = server.agent("node-1"), server.agent("node-2"), server.peer("server-2")
    audited = Audited()
    audited.record.asking(first.tunnel)
    audited.record.asking(second.tunnel)
    audited.record.refused(DialError(DialFailure.ENDPOINT, "no"))
    assert audited.written[0]["agent"] == {"id": "node-2", "address": "node-2.test:1"}
    audited = Audited()
    audited.record.asking(peer.tunnel)
    audited.record.refused(DialError(DialFailure.ENDPOINT, "no"))
    assert audited.written[0]["peer"]["server"] == "server-2"
    assert "agent" not in audited.written[0]


def test_a_client_on_a_unix_socket_is_its_process():
    assert client_of(Peer("unix", None, PeerProcess(7, 1000, 100))) == {
        "address": "unix",
        "pid": 7,
        "uid": 1000,
        "gid": 100,
    }

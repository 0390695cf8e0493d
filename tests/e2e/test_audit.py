"""Tests of a running server's audit log: each dial's user, agent and outcome are recorded, and lines fit the schema."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path

import jsonschema
import pytest

from konnectivity import wire
from konnectivity.client import connect
from konnectivity.errors import REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.message_stream import Peer
from konnectivity_server.audit import audit_records
from support import grpc_peer, targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "secure/audit.schema.json").read_text())
PAGES = "".join((DOCS / name).read_text() for name in ("secure/audit.md", "reference/metrics.md", "reference/api.md"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
FOUR = [("grpc", True), ("grpc", False), ("http-connect", True), ("http-connect", False)]


class Log:
    """Audit log file whose lines are checked against the schema when they are read."""

    def __init__(self, deployment):
        self.path = deployment.directory / "audit.log"
        self.flag = f"--audit-log={self.path}"

    @property
    def lines(self):
        found = [json.loads(line) for line in self.path.read_text().split("\n")[:-1]]
        for line in found:
            VALIDATOR.validate(line)
        return found

    async def of(self, event, destination, count=1):
        async with asyncio.timeout(20):
            while True:
                found = [x for x in self.lines if x["event"] == event and x.get("destination") == destination]
                if len(found) >= count:
                    return found[-1]
                await asyncio.sleep(0.02)


@pytest.fixture
def log(fresh):
    return Log(fresh)


def test_the_schema_is_one_and_refuses_what_is_none():
    VALIDATOR.check_schema(SCHEMA)
    stamp = {"version": 1, "time": "2026-11-24T12:00:00.000000Z", "server": "s"}
    assert VALIDATOR.is_valid({**stamp, "event": "dropped", "lines": 1})
    for wrong in ({"event": "dropped"}, {"event": "dialled"}, {"event": "dropped", "lines": 1, "more": 1}):
        assert not VALIDATOR.is_valid({**stamp, **wrong})


def records_of(end):
    """Return the lines of the audit log about one dial."""
    found = []
    peer = Peer("127.0.0.1:1")
    record = audit_records.DialRecord(found.append, {}, time.monotonic, "0" * 16, "a:1", "tcp", peer, False)
    end(record)
    stamp = {"version": audit_records.VERSION, "time": "2026-11-24T12:00:00.000000Z", "server": "s"}
    return [{**stamp, **record} for record in found]


@pytest.mark.parametrize("failure", DialFailure)
def test_every_reason_to_refuse_fits_the_schema(failure):
    (record,) = records_of(lambda record: record.refused(DialError(failure, "text")))
    VALIDATOR.validate(record)
    assert f"`{record['cause']}`" in PAGES


def test_a_refusal_of_the_policy_fits_the_schema():
    (record,) = records_of(
        lambda record: record.refused(DialError(DialFailure.ENDPOINT, f"dial: {REFUSED_BY_POLICY}: x"))
    )
    assert record["cause"] == "policy"
    VALIDATOR.validate(record)


async def test_an_address_that_is_none_is_refused_in_writing(fresh, log):
    fresh.start_server(log.flag)
    _, writer = await asyncio.open_unix_connection(fresh.socket)
    writer.write(b"CONNECT nonsense HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await log.of("refused", "nonsense")
    assert line["cause"] == "address"
    writer.close()


@pytest.mark.parametrize(("mode", "unix"), FOUR)
async def test_a_connection_from_its_dial_to_its_end(fresh, log, mode, unix):
    fresh.start_server(log.flag, "--server-id=server-1")
    fresh.start_agent("--agent-id=agent-1")
    async with listening(targets.echo) as address, connect(**fresh.frontend(mode, unix)) as tunnel:
        reader, writer = await tunnel.dial(address)
        dialled = await log.of("dialled", address)
        writer.write(b"hello")
        await reader.readexactly(5)
        writer.close()
        closed = await log.of("closed", address)
    client = dialled["client"]
    if unix:
        assert client == {"address": "unix", "pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
    else:
        assert client["certificate"] == "client"
        assert re.fullmatch(r"127\.0\.0\.1:\d+", client["address"])
    assert (dialled["server"], dialled["protocol"], dialled["relayed"]) == ("server-1", "tcp", False)
    assert dialled["agent"]["id"] == "agent-1"
    assert dialled["agent"]["certificate"] == "client"
    same = ("connection", "client", "agent", "agent_connection", "destination", "server")
    assert [closed[name] for name in same] == [dialled[name] for name in same]
    assert (closed["bytes_to_destination"], closed["bytes_from_destination"]) == (5, 5)
    assert (closed["cause"], closed["side"]) == ("end", "client")


async def test_dials_that_fail_say_why(fresh, log):
    server = fresh.start_server(log.flag)
    async with connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial("nobody.example:1")
        line = await log.of("refused", "nobody.example:1")
        assert (line["cause"], line["reason"]) == ("no_agent", "No agent available")
        assert "agent" not in line
        fresh.start_agent("--agent-id=agent-1")
        for address, cause in (("169.254.169.254:80", "policy"), ("127.0.0.1:1", "error_response")):
            with pytest.raises(DialError) as caught:
                await tunnel.dial(address)
            line = await log.of("refused", address)
            assert (line["cause"], line["reason"], line["agent"]["id"]) == (cause, str(caught.value), "agent-1")
    server.stop()
    assert [line["event"] for line in log.lines] == ["refused"] * 3


async def test_a_client_that_leaves_before_the_answer_and_an_agent_that_is_lost(fresh, log):
    fresh.start_server(log.flag)
    async with grpc_peer.agent(fresh, "agent-1", metadata=grpc_peer.EXTENDED) as agent:
        _, writer = await asyncio.open_unix_connection(fresh.socket)
        writer.write(b"CONNECT left.example:1 HTTP/1.1\r\n\r\n")
        await agent.hear()
        writer.close()
        assert (await log.of("refused", "left.example:1"))["cause"] == "frontend_close"
        async with connect(**fresh.frontend("grpc", unix=True)) as tunnel:
            dialling = asyncio.create_task(tunnel.dial("lost.example:1"))
            while (packet := await agent.hear()).type != wire.packet_types.DIAL_REQ:
                pass
            await agent.say(wire.dial_rsp(packet.dialRequest.random, 9))
            await dialling
            agent.call.cancel()
            line = await log.of("closed", "lost.example:1")
            assert (line["cause"], line["side"], line["agent_connection"]) == ("tunnel_lost", "server", 9)
            dialling.result()[1].close()


async def test_what_is_open_at_the_end_of_the_server_is_in_the_log(fresh, log):
    server = fresh.start_server(log.flag, "--graceful-shutdown-timeout=0")
    fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        _, writer = await tunnel.dial(address)
        server.send(signal.SIGTERM)
        await asyncio.to_thread(server.wait)
        writer.close()
    assert [line["event"] for line in log.lines] == ["dialled", "closed"]


async def test_a_renamed_log_is_made_anew_and_lines_are_counted(fresh, log):
    fresh.start_server(log.flag)
    async with connect(**fresh.frontend("grpc", unix=True)) as tunnel:
        for destination in ("first.example:1", "second.example:1"):
            with pytest.raises(DialError):
                await tunnel.dial(destination)
            await log.of("refused", destination)
            log.path.rename(log.path.with_suffix(f".{destination}"))
            log.path.touch()
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{fresh.health_port}/metrics", timeout=10).read().decode()
    assert "server_audit_lines_total 2\n" in metrics
    assert "server_audit_lines_dropped_total 0\n" in metrics


def test_a_log_that_cannot_be_written_ends_the_server_at_its_start(fresh):
    arguments = fresh.server_arguments("--audit-log=/no/such/directory/audit.log")
    server = fresh.start_package("konnectivity_server", arguments)
    assert server.wait() == 1
    assert server.log.endswith(
        "Error: --audit-log: cannot open '/no/such/directory/audit.log': No such file or directory\n"
    )


async def test_the_account_of_an_agent_that_shows_a_token(fresh, log, tmp_path):
    account = "system:serviceaccount:kube-system:konnectivity-agent"
    token = tmp_path / "token"
    token.write_text("good")
    with KubernetesApi(tmp_path / "api") as api:
        api.add_token("good", account, "here")
        fresh.start_server(
            log.flag,
            "--agent-namespace=kube-system",
            "--agent-service-account=konnectivity-agent",
            "--authentication-audience=here",
            f"--kubeconfig={api.kubeconfig(tmp_path / 'kubeconfig')}",
        )
        await asyncio.to_thread(fresh.start_agent, f"--service-account-token-path={token}", "--agent-id=a")
        async with listening(targets.echo) as address, connect(**fresh.frontend("grpc", unix=True)) as tunnel:
            _, writer = await tunnel.dial(address)
            found = (await log.of("dialled", address))["agent"]
            writer.close()
    assert (found["id"], found["user"], found["certificate"]) == ("a", account, "client")


async def test_workers_share_one_log(fresh, log):
    server = fresh.start_package(
        "konnectivity_server", fresh.server_arguments(log.flag, "--workers=2", "--server-id=s")
    )
    await asyncio.to_thread(server.wait_for, "Proxy server started", 2)
    await asyncio.to_thread(server.wait_for, "Connected to peer", 2)  # once for each of the two workers
    await asyncio.to_thread(fresh.start_agent)
    async with listening(targets.echo) as address:
        for count in range(1, 9):
            async with connect(**fresh.frontend("grpc", unix=True)) as tunnel:
                _, writer = await tunnel.dial(address)
                writer.close()
                await log.of("closed", address, count)
    assert {line["server"] for line in log.lines} <= {"s-0", "s-1"}
    assert [line["relayed"] for line in log.lines if line["event"] == "dialled"].count(False) == 8


async def test_standard_output(fresh):
    server = fresh.start_server("--audit-log=-")
    async with connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial("nobody.example:1")
    await asyncio.to_thread(server.wait_for, '"event": "refused"')
    line = next(line for line in server.log.splitlines() if line.startswith("{"))
    VALIDATOR.validate(json.loads(line))

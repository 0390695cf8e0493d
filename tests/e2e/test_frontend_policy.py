"""Tests of --frontend-policy with whole programs: who may dial what, changes of the file, audit log and metric."""

from __future__ import annotations

import asyncio
import json
import os
import time
from hashlib import sha256
from pathlib import Path
from urllib.request import ProxyHandler, build_opener, urlopen

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import Deployment
from support.command_runs import curl
from support.forward_process import ForwardProcess
from support.targets import echo, listening

TOKEN = "a-token-of-a-client"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    policy = deployment.directory / "policy.yaml"
    policy.write_text(
        f"- clients: [token-sha256={sha256(TOKEN.encode()).hexdigest()}]\n"
        f"- clients: [uid={os.getuid()}]\n  deny: [127.0.0.9]\n- clients: [cn=client]\n  allow: ['localhost:1-65535']\n"
    )
    deployment.start_server(f"--frontend-policy={policy}", f"--audit-log={deployment.path('audit')}")
    deployment.start_agent()
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_each_frontend_dials_what_its_credential_allows(guarded, mode):
    async with listening(echo) as address:
        port = address.rpartition(":")[2]
        for unix, good, bad in ((True, address, f"127.0.0.9:{port}"), (False, f"localhost:{port}", address)):
            async with connect(**guarded.frontend(mode, unix)) as tunnel:
                _, writer = await tunnel.dial(good)
                writer.close()
                with pytest.raises(DialError, match="refused by the server's policy"):
                    await tunnel.dial(bad)


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_a_token_admits_to_its_rules(guarded, mode):
    """A client that shows the token may dial what its user may not; another token, or none, changes nothing."""
    for token, text in (
        (TOKEN, "connection refused"),
        ("another", "the server's policy"),
        (None, "the server's policy"),
    ):
        async with connect(**guarded.frontend(mode, True), token=token) as tunnel:
            with pytest.raises(DialError, match=text):
                await tunnel.dial("127.0.0.9:1")
    digest, audit = sha256(TOKEN.encode()).hexdigest(), Path(guarded.path("audit"))
    async with asyncio.timeout(10):  # a thread writes the records
        while digest not in {each["client"].get("token_sha256") for each in map(json.loads, complete_lines(audit))}:
            await asyncio.sleep(0.05)
    assert TOKEN not in audit.read_text()


def complete_lines(path):
    """Return the lines of a file that are written whole."""
    return path.read_text().rpartition("\n")[0].splitlines()


def test_a_sidecar_shows_its_token(guarded, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    forward = ForwardProcess(guarded, f"--token-file={file}")
    assert b"connection refused" in curl("http://127.0.0.9:1/", http_proxy=forward.http)
    file.write_text("another")
    end = time.monotonic() + 15
    while b"policy" not in curl("http://127.0.0.9:1/", http_proxy=forward.http):
        assert time.monotonic() < end
        time.sleep(0.2)


async def test_a_refusal_is_audited_counted_and_a_403(guarded):
    frontend = guarded.frontend("http-connect", True)
    async with connect(**frontend) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial("127.0.0.9:4321")
    forward = ForwardProcess(guarded)
    with pytest.raises(OSError, match="HTTP Error 403"):
        build_opener(ProxyHandler({"http": forward.http})).open("http://127.0.0.9:4321/", timeout=20)
    end, refused = time.monotonic() + 10, []
    while len(refused) < 2 and time.monotonic() < end:
        records = map(json.loads, complete_lines(Path(guarded.path("audit"))))
        refused = [each for each in records if each.get("destination") == "127.0.0.9:4321"]
    assert {(each["event"], each["cause"]) for each in refused} == {("refused", "policy")}
    assert "127.0.0.9 port 4321 is denied by 127.0.0.9 (entry 2)" in refused[0]["reason"]
    with urlopen(f"http://127.0.0.1:{guarded.health_port}/metrics") as answer:
        metrics = answer.read().decode()
    assert 'server_dial_failure_count{reason="policy"}' in metrics


async def test_a_change_of_the_file_is_taken_into_use_and_a_broken_one_is_not(guarded):
    policy = guarded.directory / "policy.yaml"
    before, server = policy.read_text(), guarded.processes[0]

    async def refused():
        async with connect(**guarded.frontend("http-connect", True)) as tunnel:
            try:
                _, writer = await tunnel.dial(address)
            except DialError:
                return True
            writer.close()
            return False

    async def until(wanted):
        end = time.monotonic() + 15
        while await refused() != wanted:
            assert time.monotonic() < end
            time.sleep(0.2)

    async with listening(echo) as address:
        policy.write_text("- clients: ['*']\n  deny: [127.0.0.0/8]\n")
        await until(True)
        policy.write_text("- clients: everyone\n")
        time.sleep(1.1)
        assert await refused()
        server.wait_for("Frontend policy cannot be used, keeping the one of before")
        policy.write_text(before)
        await until(False)


def test_a_server_does_not_start_with_a_broken_policy(tmp_path):
    deployment = Deployment(tmp_path)
    (tmp_path / "policy.yaml").write_text("- {}\n")
    arguments = deployment.server_arguments(f"--frontend-policy={tmp_path}/policy.yaml")
    process = deployment.start_package("konnectivity_server", arguments)
    assert process.wait(20) == 1
    assert f"Error: --frontend-policy: {tmp_path}/policy.yaml: entry 1 names no clients" in process.log

"""Tests of /api/v1 on a real server: the overview, the connections and the agents, alone and with --workers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from urllib.parse import urlencode

import pytest

from konnectivity.testing.deployment import free_port
from support.connect_socket import answer_to, dial, fill


def get(port, path, host=None, **query):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        target = f"/api/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        connection.request("GET", target, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else (answer.status, body.decode())
    finally:
        connection.close()


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.1)
    return value


class Targets:
    """Two listening targets: `deaf` never reads, `loud` sends 100 MB to the first connection."""

    def __init__(self):
        self.deaf = socket.create_server(("127.0.0.1", 0))
        self.loud = socket.create_server(("127.0.0.1", 0))
        self._talker = threading.Thread(target=self._talk)
        self._talker.start()

    def _talk(self):
        try:
            sock, _ = self.loud.accept()
            with sock:
                sock.sendall(bytes(100_000_000))
        except OSError:
            pass

    @staticmethod
    def of(server):
        return f"127.0.0.1:{server.getsockname()[1]}"

    def close(self):
        self._talker.join(10)
        self.deaf.close()
        self.loud.close()


@pytest.fixture
def targets():
    made = Targets()
    yield made
    made.close()


def start(fresh, workers):
    arguments = fresh.server_arguments("--server-id=s", *(["--workers=2"] if workers else []))
    server = fresh.start_package("konnectivity_server", arguments)
    server.wait_for("Proxy server started", times=2 if workers else 1)
    agent = fresh.start_agent("--agent-id=node-1", "--agent-identifiers=ipv4=10.0.0.1")
    agent.wait_for("Connected to server", times=2 if workers else 1)
    return agent


@pytest.mark.parametrize("workers", [False, True], ids=["alone", "workers"])
def test_what_is_stalled_and_why_dials_fail(fresh, targets, workers):
    agent = start(fresh, workers)
    admin = fresh.admin_port
    _, deaf = dial(fresh.socket, targets.of(targets.deaf))
    sent = fill(deaf, 50_000_000)
    _, loud = dial(fresh.socket, targets.of(targets.loud))
    closed = f"127.0.0.1:{free_port()}"
    assert [answer_to(fresh.socket, closed) for _ in range(3)] == [502] * 3

    found = until(lambda: (f := get(admin, "connections"))["connections"][1:] and all_stalled(f))
    rows = {row["destination"]: row for row in found["connections"]}
    stuck, unread = rows[targets.of(targets.deaf)], rows[targets.of(targets.loud)]
    assert (stuck["stalled_side"], unread["stalled_side"]) == ("destination", "client")
    assert stuck["agent"] == unread["agent"] == "node-1"
    assert 2 <= stuck["stalled_for"] <= stuck["age"]
    assert 0 < stuck["bytes_to_destination"] <= sent
    assert unread["bytes_from_destination"] > 0
    assert unread["buffered_bytes"] > 0
    assert ("worker" in stuck) == workers

    only = get(admin, "connections", match="STALLED", sort="age", limit=1)
    assert (only["total"], only["matching"], len(only["connections"])) == (2, 2, 1)
    assert only["connections"][0]["destination"] == targets.of(targets.loud), "the younger one"

    overview = until(lambda: (o := get(admin, "overview"))["history"]["series"]["stalled"][-1] >= 2 and o)
    assert overview["connections"]["stalled_by_client"] == 1
    assert (overview["id"], overview["ready"], overview["not_ready"]) == ("s", True, None)
    assert overview["connections"]["open"] == 2
    assert overview["connections"]["stalled_by_destination"] == 1
    assert overview["totals"]["bytes_to_destination"] == stuck["bytes_to_destination"]
    assert overview["dial_failures"]["by_reason"] == {"error_response": 3}
    failures = [each for each in overview["dial_failures"]["recent"] if each["destination"] == closed]
    assert sum(each["count"] for each in failures) == 3
    assert {each["text"] for each in failures} == {f"dial tcp {closed}: connect: connection refused"}
    assert {(each["reason"], each["agent"], each["origin"]) for each in failures} == {
        ("error_response", "node-1", "unix")
    }
    series = overview["history"]["series"]
    assert sum(series["dial_failures"]) == 3
    assert len(get(admin, "overview", history=2)["history"]["series"]["dials"]) == 2
    assert ("workers" in overview) == workers

    assert get(admin, "agents", match="10.0.0.1", limit=1)["matching"] == (2 if workers else 1)
    assert get(admin, "agents", match="nobody")["agents"] == []
    agent.stop()
    gone = until(lambda: get(admin, "overview")["agents_gone"])
    assert {each["id"] for each in gone} == {"node-1"}
    assert sum(each["connections"] for each in gone) == 2
    overview = get(admin, "overview")
    assert (overview["ready"], overview["not_ready"]) == (False, "no connection to any proxy agent")
    assert answer_to(fresh.socket, closed) == 500
    assert get(admin, "overview")["dial_failures"]["recent"][0]["reason"] == "no_agent"
    deaf.close()
    loud.close()


def all_stalled(found):
    return found if all(row["state"] == "stalled" for row in found["connections"]) else None


@pytest.mark.parametrize("workers", [False, True], ids=["alone", "workers"])
def test_nobody_reads_it_through_a_name_that_points_here(fresh, workers):
    start(fresh, workers)
    port = fresh.admin_port
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example"):
        assert get(port, "overview", host=host)[0] == 421
        assert get(port, "agents", host=host)[0] == 421
    for host in (f"localhost:{port}", "127.0.0.1", "[::1]:1"):
        assert get(port, "overview", host=host)["id"] == "s"
    assert get(port, "connections", sort="colour")[0] == 400


def test_an_agent_that_comes_back_is_not_gone(fresh):
    agent = start(fresh, workers=False)
    agent.stop()
    until(lambda: get(fresh.admin_port, "overview")["agents_gone"])
    fresh.start_agent("--agent-id=node-1")
    assert get(fresh.admin_port, "overview")["agents_gone"] == []

"""Board of figures computed from two snapshots of each server."""

from __future__ import annotations

from konnectivity.tool.top.board import Board
from konnectivity.tool.top.snapshots import Snapshot


def snapshot(at, sent=0, address="a:1", error="", connections=(), agents=(), **overview):
    totals = {"dials": 0, "dial_failures": 0, "bytes_to_destination": sent, "bytes_from_destination": 2 * sent}
    whole = {"id": f"server-{address[0]}", "ready": True, "totals": totals, **overview}
    return Snapshot(address, at, error, {} if error else whole, agents, connections)


def connection(number, sent=0, stalled_for=None):
    return {
        "agent": "node",
        "server": None,
        "id": number,
        "destination": f"10.0.0.{number}:1",
        "origin": "x",
        "age": float(number),
        "bytes_to_destination": sent,
        "bytes_from_destination": 0,
        "buffered_bytes": 0,
        "state": "stalled" if stalled_for else "open",
        "stalled_side": "client" if stalled_for else None,
        "stalled_for": stalled_for,
    }


def test_rates_come_from_two_snapshots():
    board = Board()
    board.take([snapshot(10.0, 1000)])
    assert board.servers(10.0)[0]["to_destination_per_s"] == 0.0
    board.take([snapshot(12.0, 5000)])
    row = board.servers(12.0)[0]
    assert (row["to_destination_per_s"], row["from_destination_per_s"]) == (2000.0, 4000.0)


def test_a_server_that_was_started_again_has_no_rate():
    board = Board()
    board.take([snapshot(10.0, 1000)])
    board.take([snapshot(11.0, 5)])
    assert board.servers(11.0)[0]["to_destination_per_s"] == 0.0


def test_a_lost_server_is_kept_in_sight_and_what_it_said_is_not():
    board = Board()
    agents = [{"id": "node", "state": "ready", "connections": 1}]
    board.take([snapshot(10.0, agents=agents, connections=[connection(1)])])
    board.take([snapshot(11.0, error="refused")])
    board.take([snapshot(13.0, error="refused")])
    row = board.servers(14.0)[0]
    assert (row["server"], row["state"], row["why"], row["lost_for"]) == ("server-a", "lost", "refused", 3.0)
    assert (board.lost, board.agents(), board.connections("age")) == (["a:1"], [], [])
    board.take([snapshot(15.0)])
    assert board.servers(15.0)[0]["state"] == "ready"
    assert board.lost == []


def test_a_server_that_never_answered_has_its_address_as_its_name():
    board = Board()
    board.take([snapshot(1.0, error="refused"), snapshot(1.0, address="b:2")])
    assert [row["server"] for row in board.servers(1.0)] == ["a:1", "server-b"]


def test_a_server_that_is_not_ready_says_why():
    board = Board()
    board.take([snapshot(1.0, ready=False, not_ready="no connection to any proxy agent")])
    row = board.servers(1.0)[0]
    assert (row["state"], row["why"]) == ("not ready", "no connection to any proxy agent")


def test_connections_are_sorted_over_all_servers():
    board = Board()
    first, second = [connection(1), connection(2, stalled_for=4.0)], [connection(3)]
    board.take([snapshot(1.0, connections=first), snapshot(1.0, address="b:2", connections=second)])
    first = [connection(1, 500), connection(2, stalled_for=5.0)]
    board.take([snapshot(2.0, connections=first), snapshot(2.0, address="b:2", connections=second)])

    def order(sort):
        return [row["destination"][7] for row in board.connections(sort)]

    assert order("stalled")[0] == "2"
    assert order("rate")[0] == order("bytes")[0] == "1"
    assert order("age") == ["3", "2", "1"]
    assert board.connections("rate")[0]["to_per_s"] == 500.0


def test_agents_that_need_attention_come_first():
    board = Board()
    agents = [
        {"id": "busy", "state": "ready", "connections": 9},
        {"id": "silent", "state": "silent", "connections": 0},
    ]
    board.take([snapshot(1.0, agents=agents)])
    assert [row["agent"] for row in board.agents()] == ["silent", "busy"]


def test_failed_dials_of_all_servers_the_latest_first():
    board = Board()
    failures = {"recent": [{"reason": "no_agent", "ago": 9.0, "count": 2}]}
    newer = {"recent": [{"reason": "error_response", "ago": 1.0, "count": 1}]}
    board.take([snapshot(1.0, dial_failures=failures), snapshot(1.0, address="b:2", dial_failures=newer)])
    assert [(row["server"], row["reason"]) for row in board.failures()] == [
        ("server-b", "error_response"),
        ("server-a", "no_agent"),
    ]

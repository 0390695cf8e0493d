"""Greeting of a server: the answers that are accepted, and the token in the request of the agent."""

from __future__ import annotations

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import RpcError
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT, MAX_SERVER_ID
from konnectivity_agent.server_greeting import AgentIdentity, read_answer


def answer(server_id="one", count="1"):
    return Metadata([("serverid", server_id), ("servercount", count)])


@pytest.mark.parametrize(
    ("count", "taken"),
    [
        ("1", 1),
        ("0", 0),
        ("3", 3),
        ("-1", -1),  # accepted, as by the reference
        (str(MAX_SERVER_COUNT + 1), MAX_SERVER_COUNT),
        (str(2**63 - 1), MAX_SERVER_COUNT),
    ],
)
def test_a_server_count_is_taken_within_bounds(count, taken):
    assert read_answer(answer(count=count)) == ("one", taken)


@pytest.mark.parametrize("count", ["", "--5", "-", "+-1", "1_0", " 1", "1.0", "0x10", "٣", "²", "9" * 400, "9" * 5000])
def test_a_malformed_server_count_is_refused(count):
    with pytest.raises(RpcError) as raised:
        read_answer(answer(count=count))
    assert len(str(raised.value)) < 300


def test_exactly_one_server_id_of_bounded_length_is_accepted():
    assert read_answer(answer("x" * MAX_SERVER_ID)) == ("x" * MAX_SERVER_ID, 1)
    assert read_answer(answer("")) == ("", 1)  # as with the reference
    for bad in (answer("x" * (MAX_SERVER_ID + 1)), Metadata([("servercount", "1")]), Metadata(answer().fields * 2)):
        with pytest.raises(RpcError) as raised:
            read_answer(bad)
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"one\ntwo\n", "more than one word"),
        (b"\xff\xfe\x00", "no ASCII text"),
        ("tök".encode(), "no ASCII text"),
    ],
)
def test_a_file_without_exactly_one_token_is_refused(tmp_path, content, error):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=error) as raised:
        AgentIdentity("agent", "", str(path)).metadata()
    assert str(path) in str(raised.value)


def test_the_token_is_read_again_for_each_greeting(tmp_path):
    path = tmp_path / "token"
    for token in ("first", "second"):
        path.write_text(f"\n{token}\n")
        assert AgentIdentity("agent", "", str(path)).metadata()["authorization"] == f"Bearer {token}"

"""Headers of a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity import __version__
from konnectivity.grpc import metadata
from konnectivity.grpc.metadata import Metadata, format_timeout, parse_timeout
from konnectivity.http2.header_rules import check_request


def test_names_are_lower_case_and_may_be_repeated() -> None:
    fields = Metadata([("AgentID", "a-1"), ("x", "1"), ("X", "2"), ("agentid", "a-2")])
    assert fields.fields == [("agentid", "a-1"), ("x", "1"), ("x", "2"), ("agentid", "a-2")]
    assert fields.get_all("x") == ["1", "2"]
    assert fields.get("agentid") == "a-1"
    assert (fields.get_all("none"), fields.get("none"), fields.get("none", "default")) == ([], "", "default")


def test_a_request() -> None:
    headers = metadata.request("/AgentService/Connect", "proxy:8091", True, {"AgentID": "a-1"}, timeout_s=1.5)
    assert headers == [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/AgentService/Connect"),
        (":authority", "proxy:8091"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", f"konnectivity-python/{__version__}"),
        ("grpc-timeout", "1500m"),
        ("agentid", "a-1"),
    ]
    check_request(headers)


def test_a_request_in_the_clear_and_without_a_timeout() -> None:
    headers = dict(metadata.request("/ProxyService/Proxy", "unix", False, {}, timeout_s=None))
    assert headers[":scheme"] == "http"
    assert "grpc-timeout" not in headers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("3S", 3.0),
        ("1500m", 1.5),
        ("20u", 0.00002),
        ("5n", 0.000000005),
        ("0S", 0.0),
        ("99999999S", 99_999_999.0),
    ],
)
def test_timeouts(value: str, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "S", "1", "1s", "1.5S", "-1S", "+1S", " 1S", "1 S", "1_0S", "100000000S", "٣S"])
def test_what_is_no_timeout(value: str) -> None:
    assert parse_timeout(value) is None


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0, "0m"),
        (-1, "0m"),
        (0.25, "250m"),
        (60, "60000m"),
        (99_999.999, "99999999m"),
        (100_000, "100000S"),
        (1e12, "99999999S"),
    ],
)
def test_timeouts_are_written(seconds: float, value: str) -> None:
    assert format_timeout(seconds) == value


@given(st.floats(0, 9e7))
def test_a_timeout_is_understood_as_it_was_meant(seconds: float) -> None:
    understood = parse_timeout(format_timeout(seconds))
    assert understood is not None
    assert abs(understood - seconds) <= (0.001 if seconds < 99_000 else 1.0)


def test_fields_that_nobody_reads_are_dropped() -> None:
    fields = [("AgentID", "a"), ("x", "b" * 1000), ("agentid", "c")]
    kept = metadata.Metadata(fields, frozenset({"agentid"}))
    assert kept.fields == [("agentid", "a"), ("agentid", "c")]
    assert metadata.Metadata(fields).get("x") == "b" * 1000


def test_the_size_of_the_fields_is_what_they_take_in_memory() -> None:
    assert 1000 < metadata.Metadata([("a", "x" * 1000)]).size < 1100
    assert 4000 < metadata.Metadata([("a", "x" * 999 + "\U0001f600")]).size < 4200
    assert metadata.Metadata([]).size == 0

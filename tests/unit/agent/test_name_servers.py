"""Parsing of resolv.conf, hosts and DNS messages: the results of the C library, for any content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity_agent.name_servers import (
    TYPE_A,
    TYPE_AAAA,
    Configuration,
    Reply,
    number_of,
    query,
    question_of,
    read_configuration,
    read_hosts,
    read_reply,
)


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, Configuration()),
        ("nameserver 10.0.0.10\n", {}, Configuration(("10.0.0.10",))),
        (
            "search a.example b.example\nnameserver 10.0.0.10\nnameserver fd00::1\noptions ndots:5 timeout:2 rotate\n",
            {},
            Configuration(("10.0.0.10", "fd00::1"), ("a.example", "b.example"), 5, 2.0),
        ),
        ("search a\ndomain b.example\n", {}, Configuration(search=("b.example",))),
        ("domain b.example\nsearch a b.\n", {}, Configuration(search=("a", "b"))),
        ("nameserver 1\nnameserver 2\nnameserver 3\nnameserver 4\n", {}, Configuration(("1", "2", "3"))),
        ("nameserver\n; comment\n# comment\noptions ndots:x timeout: ndots:\u0663\n", {}, Configuration()),
        ("options ndots:99 timeout:0\n", {}, Configuration(ndots=15, timeout_s=1.0)),
        ("search a\n", {"LOCALDOMAIN": "x y", "RES_OPTIONS": "ndots:2"}, Configuration(search=("x", "y"), ndots=2)),
    ],
)
def test_configuration(text, environment, expected):
    assert read_configuration(text, environment) == expected


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("a", ["a.x", "a.y", "a"]),
        ("a.b", ["a.b.x", "a.b.y", "a.b"]),
        ("a.b.c", ["a.b.c", "a.b.c.x", "a.b.c.y"]),
        ("a.", ["a"]),
        ("a" * 63, [f"{'a' * 63}.x", f"{'a' * 63}.y", "a" * 63]),
        ("a" * 64, []),
    ],
)
def test_names_that_are_asked_for(name, candidates):
    assert Configuration(search=("x", "y"), ndots=2).candidates(name) == candidates


def test_names_of_the_hosts_file():
    lines = [
        "127.0.0.1 localhost Node-1",
        "# ::1 hidden",
        "::1 six other. # comment",
        "",
        "10.0.0.1",
        "10.0.0.1 \u00fc",
    ]
    assert read_hosts(lines) == {"localhost", "node-1", "six", "other"}


def reply(number, question, code=0, answers=0, flags=0x80):
    return number.to_bytes(2, "big") + bytes((flags, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0)) + question


QUESTION = question_of("a.example", TYPE_A)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (reply(7, QUESTION, answers=1), Reply.FOUND),
        (reply(7, QUESTION), Reply.NOTHING),
        (reply(7, QUESTION, code=3), Reply.NOTHING),
        (reply(7, QUESTION, code=2), Reply.FAILURE),
        (reply(7, QUESTION, code=5), Reply.FAILURE),
        (reply(7, QUESTION, flags=0x82), Reply.TRUNCATED),
        (reply(7, QUESTION.upper()[: len(QUESTION) - 4] + QUESTION[-4:], answers=1), Reply.FOUND),
        (reply(7, question_of("b.example", TYPE_A), answers=1), None),
        (reply(7, question_of("a.example", TYPE_AAAA), answers=1), None),
        (reply(7, b"", code=1), Reply.FAILURE),
        (reply(7, b""), None),
    ],
)
def test_replies(message, expected):
    assert number_of(message) == 7
    assert read_reply(message, QUESTION) is expected


def test_a_query_is_no_answer():
    assert number_of(query(7, QUESTION)) == -1
    assert query(7, QUESTION) == b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01"


@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_none(message):
    if number_of(message) >= 0:
        read_reply(message, QUESTION)


@given(st.text(max_size=200), st.dictionaries(st.sampled_from(["LOCALDOMAIN", "RES_OPTIONS"]), st.text(max_size=50)))
def test_any_text_is_a_configuration(text, environment):
    found = read_configuration(text, environment)
    assert 1 <= len(found.servers) <= 3
    for name in found.candidates("a.b"):
        question_of(name, TYPE_A)
    read_hosts(text.splitlines())

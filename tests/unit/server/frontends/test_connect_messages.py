"""Messages of HTTP CONNECT: parsed heads of requests, and every answer."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from konnectivity.errors import DialError, DialFailure
from konnectivity.http1.message_heads import HeadError, HeadFault
from konnectivity_server.frontends.connect_messages import (
    MAX_REASON,
    BadRequest,
    answer_to,
    destination,
    plain_destination,
    refusal,
    trace_parent_text,
)

HEAD = b"CONNECT node-1:10250 HTTP/1.1\r\nHost: node-1:10250\r\nUser-Agent: kube-apiserver\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def test_a_head_that_is_too_large_names_its_limit():
    bad = refusal(HeadError(HeadFault.TOO_LARGE))
    assert (bad.limit, bad.keep) == ("connect_head", False)
    assert bad.answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (b"traceparent: 00-1\r\n", "00-1"),
        (b"TraceParent:\t00-1 \t\r\n", "00-1"),
        (b"traceparent: 00-1\r\ntraceparent: 00-2\r\n", ""),
        (b"x-traceparent: 00-1\r\n", ""),
        (b"x: traceparent: 00-1\r\n", ""),
        (b"", ""),
    ],
)
def test_the_parent_of_a_trace_is_the_only_header_of_its_name(lines, text):
    assert trace_parent_text(HEAD[:-2] + lines + b"\r\n") == text


def test_tls_is_no_http():
    bad = refusal(HeadError(HeadFault.NOT_HTTP))
    assert (bad.limit, bad.keep) == ("", False)
    assert bad.answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("received", "found"),
    [
        (b"CONNECT 10.0.0.1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "10.0.0.1:10250"),
        (HEAD, "node-1:10250"),
        (
            b"CONNECT [fe80::1%25eth0]:1 HTTP/1.1\r\nHost: x\r\nUser-Agent: Go-http-client/1.1\r\n\r\n",
            "[fe80::1%eth0]:1",
        ),
        (HEAD + b"early", None),
        (HEAD[:-1], None),
        (HEAD.replace(b"\r\n", b"\n"), None),
        (HEAD.replace(b"User-Agent", b"Content-Length"), None),
        (HEAD.replace(b"node-1:10250 HTTP", b"/ HTTP"), None),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), None),
        (HEAD.replace(b"kube-apiserver", b"kube\x00apiserver"), None),
        (GET, None),
    ],
)
def test_a_head_of_the_usual_form_needs_no_parser(received, found):
    assert plain_destination(received) == found


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
@example(b"node-1:1", b"x", b"a b")
def test_a_head_that_the_pattern_accepts_has_the_destination_that_h11_finds(target, host, agent):
    head = b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nUser-Agent: " + agent + b"\r\n\r\n"
    found = plain_destination(head)
    assert found is None or found == destination(head)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (HEAD, "node-1:10250"),
        (b"CONNECT node-1:1 HTTP/1.1\r\n\r\n", "node-1:1"),
        (b"CONNECT [::1]:10250 HTTP/1.1\r\nHost: [::1]:10250\r\n\r\n", "[::1]:10250"),
        (b"CONNECT /path HTTP/1.1\r\nHost: node-2:2\r\n\r\n", "node-2:2"),
        (b"CONNECT a:1 HTTP/1.0\r\nHost: a:1\r\n\r\n", "a:1"),
    ],
)
def test_where_to(head, found):
    assert destination(head) == found


@pytest.mark.parametrize(
    ("head", "answer", "keep"),
    [
        (GET, b"HTTP/1.1 405 ", True),
        (GET.replace(b"1.1", b"1.0"), b"HTTP/1.1 405 ", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", b"HTTP/1.1 405 ", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", b"HTTP/1.1 405 ", False),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 ", False),
        (b"CONNECT a:1 HTTP/2.0\r\n\r\n", b"HTTP/1.1 505 ", False),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 ", False),
    ],
)
def test_what_is_no_connect_is_told_so(head, answer, keep):
    with pytest.raises(BadRequest) as caught:
        destination(head)
    assert caught.value.answer.startswith(answer)
    assert caught.value.keep is keep
    assert (b"Connection: close" in caught.value.answer) is not keep


@pytest.mark.parametrize(
    ("failure", "text", "answer"),
    [
        (DialFailure.NO_AGENT, "No agent available", b"HTTP/1.1 500 "),
        (DialFailure.TIMEOUT, "timed out", b"HTTP/1.1 504 "),
        (DialFailure.TUNNEL_LOST, "gone", b"HTTP/1.1 502 "),
        (DialFailure.ADDRESS, "too long", b"HTTP/1.1 400 "),
        (DialFailure.BUDGET, "out of buffer memory", b"HTTP/1.1 503 "),
        (DialFailure.FLOOD, "too many", b"HTTP/1.1 503 "),
        (DialFailure.ENDPOINT, "dial tcp a:1: connect: connection refused", b"HTTP/1.1 502 "),
        (DialFailure.ENDPOINT, "dial tcp a:1: i/o timeout", b"HTTP/1.1 504 "),
        (DialFailure.ENDPOINT, "dial tcp a:1: socket: too many open files", b"HTTP/1.1 503 "),
        (DialFailure.ENDPOINT, "dial tcp a:1: refused by the agent's policy: no", b"HTTP/1.1 403 "),
    ],
)
def test_each_failure_has_its_answer(failure, text, answer):
    told = answer_to(DialError(failure, text))
    assert told.startswith(answer)
    assert failure is DialFailure.TUNNEL_LOST or text.encode() in told


@pytest.mark.parametrize(
    ("failure", "text", "line"),
    [
        (DialFailure.NO_AGENT, "No agent available", b"HTTP/1.1 500 No agent available"),
        (DialFailure.TIMEOUT, "timed out", b"HTTP/1.1 504 timed out"),
        (DialFailure.TUNNEL_LOST, "tunnel lost", b"HTTP/1.1 502 tunnel lost"),
        (DialFailure.BUDGET, "out of buffer memory", b"HTTP/1.1 503 out of buffer memory"),
        (
            DialFailure.ENDPOINT,
            "dial tcp a:1: connect: connection refused",
            b"HTTP/1.1 502 dial tcp a:1: connect: connection refused",
        ),
        (
            DialFailure.ENDPOINT,
            "a\r\nX: y\r\n\r\nbody\0\x1b[2J\x7f\u2028\u00e9",
            b"HTTP/1.1 502 a??X: y????body??[2J???",
        ),
        (DialFailure.ENDPOINT, "", b"HTTP/1.1 502 Dial failed"),
        (DialFailure.ENDPOINT, " \t ", b"HTTP/1.1 502 ?"),
        (DialFailure.ENDPOINT, "x" * 5000, b"HTTP/1.1 502 " + b"x" * MAX_REASON),
    ],
)
def test_the_reason_is_in_the_status_line(failure, text, line):
    told = answer_to(DialError(failure, text))
    assert told.partition(b"\r\n")[0] == line


def test_an_agent_that_closes_a_dial_leaves_no_answer():
    assert answer_to(DialError(DialFailure.CLOSED_BY_AGENT, "dial closed")) == b""

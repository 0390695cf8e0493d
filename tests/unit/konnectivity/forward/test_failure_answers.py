"""Tests of the answers to clients about failed dials."""

from __future__ import annotations

import pytest

from konnectivity.errors import NO_AGENT, NO_MEMORY, DialError, DialFailure
from konnectivity.forward import socks5
from konnectivity.forward.failure_answers import http_answer, socks_code_of, status_of

ENDPOINT = DialFailure.ENDPOINT


@pytest.mark.parametrize(
    ("failure", "text", "status", "code"),
    [
        (ENDPOINT, "dial tcp 10.0.0.7:1: connect: connection refused", 502, socks5.REFUSED),
        (ENDPOINT, "dial tcp: lookup a.test: no such host", 502, socks5.HOST_UNREACHABLE),
        (ENDPOINT, "dial tcp 10.0.0.7:1: connect: no route to host", 502, socks5.HOST_UNREACHABLE),
        (ENDPOINT, "dial tcp 10.0.0.7:1: connect: network is unreachable", 502, socks5.NETWORK_UNREACHABLE),
        (ENDPOINT, "dial tcp 10.0.0.7:1: i/o timeout", 504, socks5.HOST_UNREACHABLE),
        (ENDPOINT, "dial tcp 10.0.0.7:1: refused by the agent's policy: denied", 403, socks5.NOT_ALLOWED),
        (ENDPOINT, "socket: too many open files", 503, socks5.GENERAL_FAILURE),
        (DialFailure.NO_AGENT, NO_AGENT, 502, socks5.NETWORK_UNREACHABLE),
        (DialFailure.TIMEOUT, "no answer to the dial within 30 s", 504, socks5.HOST_UNREACHABLE),
        (DialFailure.TUNNEL_LOST, "cannot reach the proxy server: connection refused", 502, socks5.GENERAL_FAILURE),
        (DialFailure.BUDGET, NO_MEMORY, 503, socks5.GENERAL_FAILURE),
        (DialFailure.ADDRESS, "lookup a..b: no such host", 400, socks5.HOST_UNREACHABLE),
    ],
)
def test_status_and_code_of_a_failed_dial(failure, text, status, code):
    error = DialError(failure, text)
    assert (status_of(error), socks_code_of(error)) == (status, code)


def test_an_answer_says_why_and_closes():
    answer = http_answer(504, "dial tcp: i/o timeout").decode()
    assert answer.startswith("HTTP/1.1 504 Gateway Timeout\r\n")
    assert "\r\nConnection: close\r\n" in answer
    assert answer.endswith("\r\n\r\ndial tcp: i/o timeout\n")
    assert "\r\nContent-Length: 22\r\n" in answer


def test_an_answer_that_asks_for_a_password():
    assert b'\r\nProxy-Authenticate: Basic realm="konnectivity"' in http_answer(407, "who")


def test_a_long_reason_is_cut():
    assert len(http_answer(502, "x" * 100_000)) < 2000

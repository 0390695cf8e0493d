"""Tests of the reason that an agent's error text means."""

from __future__ import annotations

import pytest

from konnectivity.errors import DialError, DialFailure
from konnectivity_server.probes import path_faults

TEXTS = {
    "dial tcp 10.0.0.1:10250: connect: connection refused": ("refused", "tcp"),
    "dial tcp 10.0.0.1:10250: connect: no route to host": ("no_route", "route"),
    "dial tcp 10.0.0.1:10250: connect: network is unreachable": ("no_route", "route"),
    "dial tcp 10.0.0.1:10250: i/o timeout": ("no_answer", "tcp"),
    "dial tcp 10.0.0.1:10250: connect: connection timed out": ("no_answer", "tcp"),
    "dial tcp: lookup a.example: no such host": ("dns", "dns"),
    "dial tcp: lookup a.example on 10.96.0.10:53: read udp 10.0.0.2:5->10.96.0.10:53: i/o timeout": ("dns", "dns"),
    "dial tcp 10.0.0.1:1: refused by the agent's policy: 10.0.0.1 port 1 is denied by 10.0.0.0/8": ("policy", "policy"),
    "dial tcp: lookup a: socket: too many open files": ("agent_overloaded", "agent"),
    "too many dials under way": ("agent_overloaded", "agent"),
    "something else": ("other", "target"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_an_error_text_of_an_agent_has_a_reason_and_a_layer(text: str) -> None:
    found = path_faults.of_dial(DialError(DialFailure.ENDPOINT, text))
    assert (found.reason, found.layer) == TEXTS[text]
    assert found.text == text


def test_a_lost_tunnel_is_the_agent_s_fault_and_no_target_s() -> None:
    assert path_faults.of_dial(DialError(DialFailure.TUNNEL_LOST, "gone")).reason == path_faults.AGENT_LOST


def test_a_text_of_a_peer_is_cut() -> None:
    found = path_faults.of_dial(DialError(DialFailure.ENDPOINT, "x" * 10_000))
    assert len(found.text.encode()) <= path_faults.MAX_TEXT

"""Connections to one of several addresses: the chosen address, the delay, and the error when all fail."""

from __future__ import annotations

import socket

from konnectivity.net import happy_eyeballs
from konnectivity.net.happy_eyeballs import where


def info(host, port, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, "", (host, port) if family == socket.AF_INET else (host, port, 0, 0))


def test_families_take_turns():
    four = [info(f"10.0.0.{n}", 1) for n in (1, 2, 3)]
    six = [info(f"fd00::{n}", 1, socket.AF_INET6) for n in (1, 2)]
    assert happy_eyeballs._interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], four[2]]


def test_addresses_as_go_writes_them():
    assert where(("10.0.0.1", 80)) == "10.0.0.1:80"
    assert where(("fd00::1", 80, 0, 0)) == "[fd00::1]:80"
    assert where(("fe80::1", 80, 0, socket.if_nametoindex("lo"))) == "[fe80::1%lo]:80"

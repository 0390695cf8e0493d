"""Tests of the declarations of probes."""

from __future__ import annotations

import pytest

from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.probes.probe_classes import ProbeClass, parse, parse_class

NODE = Identifiers(ipv4=("10.0.0.7", "10.0.0.8"), ipv6=("fd00::7",), host=("node-7.example",))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("kubelet={ipv4}:10250,tls", "10.0.0.7:10250"),
        ("kubelet={ipv6}:10250", "[fd00::7]:10250"),
        ("kubelet=[{ipv6}]:10250", "[fd00::7]:10250"),
        ("kubelet={host}:10250,https:/healthz", "node-7.example:10250"),
        ("dns=10.96.0.10:53,dns:kubernetes.default.svc.cluster.local.", "10.96.0.10:53"),
        ("v6=[fd00::1]:443,http:/a?b=c,d", "[fd00::1]:443"),
        ("name=registry.example:443,tcp", "registry.example:443"),
    ],
)
def test_the_target_of_an_agent_is_made_from_its_identifiers(text: str, address: str) -> None:
    assert parse_class(text).address_for(NODE) == address


def test_an_agent_without_that_identifier_has_no_target() -> None:
    assert parse_class("a={ipv6}:1").address_for(Identifiers(ipv4=("10.0.0.7",))) is None


def test_the_kind_and_its_detail_stand_behind_the_first_comma() -> None:
    assert parse_class("a=b:1,http:/x,y") == ProbeClass("a", "b", 1, "http", "/x,y")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kubelet", "write NAME=HOST:PORT"),
        ("Kubelet=a:1", "the name has small letters"),
        ("=a:1", "the name has small letters"),
        ("a=b", "missing port in address"),
        ("a={ipv5}:1", "the placeholders are"),
        ("a=x{ipv4}:1", "the placeholders are"),
        ("a=:1", "needs a host"),
        ("a=b:0", "needs a host, and a port above 0"),
        ("a=b:70000", "invalid port"),
        ("a=b:1,udp", "no kind of probe"),
        ("a=b:1,", "no kind of probe"),
        ("a=b:1,tls:x", "has nothing behind it"),
        ("a=b:1,http", "the path begins with /"),
        ("a=b:1,http:/a b", "the path begins with /"),
        ("a=b:1,http:/\r\nX: y", "the path begins with /"),
        ("a=b:1,dns:", "is no name to ask for"),
        ("a=b:1,dns:a..b", "is no name to ask for"),
        (f"a=b:1,dns:{'x' * 64}", "is no name to ask for"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="write NAME") as refused:
        parse_class(text)
    assert problem in str(refused.value)


def test_each_probe_has_its_own_name_and_there_are_few() -> None:
    with pytest.raises(ValueError, match="two probes have the name 'a'"):
        parse(("a=b:1", "a=b:2"))
    with pytest.raises(ValueError, match="17 probes; at most 16"):
        parse(tuple(f"a{number}=b:1" for number in range(17)))

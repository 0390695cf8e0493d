"""Destinations that an agent may dial: rules, their order, and spellings that change nothing."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.net.destination_policy import METADATA, canonical_address, parse, parse_rule


def verdict(address, port=443, *, host="", allow=(), deny=()):
    refusal = parse(allow, deny).refusal(host or address, address, port)
    return refusal.reason if refusal is not None else "dialled"


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("10.0.0.0/8", [("10.1.2.3", 1), ("::ffff:10.1.2.3", 1)], [("11.0.0.1", 1), ("::10.1.2.3", 1)]),
        ("10.0.0.7", [("10.0.0.7", 65535)], [("10.0.0.8", 65535)]),
        ("10.0.0.7:10250", [("10.0.0.7", 10250)], [("10.0.0.7", 10251)]),
        ("10.0.0.0/8:30000-32767", [("10.0.0.1", 30000), ("10.0.0.1", 32767)], [("10.0.0.1", 32768)]),
        ("fd00::/8", [("fd12::1", 1), ("fd12::1%2", 1)], [("fe80::1", 1), ("10.0.0.1", 1)]),
        ("[fd00::/8]:443", [("fd12::1", 443)], [("fd12::1", 444)]),
        ("[fd00::1]", [("fd00:0::0:1", 9)], [("fd00::2", 9)]),
        ("::ffff:10.0.0.0/104", [("10.9.9.9", 1), ("::ffff:a09:909", 1)], [("11.9.9.9", 1)]),
        ("127.0.0.1", [("0.0.0.0", 1), ("::ffff:0.0.0.0", 1)], [("127.0.0.2", 1)]),
        ("::1", [("::", 1)], [("127.0.0.1", 1)]),
        ("*", [("10.0.0.1", 1), ("fd00::1", 1)], []),
        ("*:443", [("10.0.0.1", 443)], [("10.0.0.1", 80)]),
    ],
)
def test_what_a_rule_on_addresses_covers(rule, yes, no):
    for address, port in yes:
        assert verdict(address, port, allow=[rule]) == "dialled"
        assert verdict(address, port, deny=[rule]) == "denied"
    for address, port in no:
        assert verdict(address, port, allow=[rule]) == "not_allowed"
        assert verdict(address, port, deny=[rule]) == "dialled"


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("Node-1.Example", ["node-1.example", "NODE-1.example.", "node-1。example"], ["node-10.example", "example"]),
        ("*.svc.cluster.local", ["a.svc.cluster.local", "a.b.SVC.cluster.local."], ["svc.cluster.local"]),
        ("*.example", ["a.example"], ["example", "anexample"]),
        ("bücher.example", ["xn--bcher-kva.example", "BÜCHER.example"], ["bucher.example"]),
        ("*", ["anything.example", "_odd.example"], []),
    ],
)  # fmt: skip
def test_what_a_rule_on_names_covers(rule, yes, no):
    for name in yes:
        assert verdict("10.0.0.1", host=name, allow=[rule]) == "dialled"
        assert verdict("10.0.0.1", host=name, deny=[rule]) == "denied"
    for name in no:
        assert verdict("10.0.0.1", host=name, allow=[rule]) == "not_allowed"


def test_what_is_denied_wins_over_what_is_allowed_and_over_a_longer_prefix():
    both = {"allow": ["10.0.0.7", "node.example"], "deny": ["10.0.0.0/8"]}
    assert verdict("10.0.0.7", **both) == "denied"
    assert verdict("10.0.0.7", host="node.example", **both) == "denied"
    assert verdict("192.0.2.1", host="node.example", **both) == "dialled"


@pytest.mark.parametrize("address", sorted(map(str, METADATA)))
def test_metadata_is_reached_by_a_rule_for_the_very_address_only(address):
    wide = "0.0.0.0/0" if "." in address else "::/0"
    written = address if "." in address else f"[{address}]"
    assert verdict(address) == "metadata"
    for rule in ("*", wide, "metadata.example"):
        assert verdict(address, host="metadata.example", allow=[rule]) == "metadata"
    assert verdict(address, 80, allow=[written]) == "dialled"
    assert verdict(address, 80, allow=[f"{written}:80"]) == "dialled"
    assert verdict(address, 81, allow=[f"{written}:80", "*"]) == "metadata"
    assert verdict(address, 80, allow=[written], deny=[wide]) == "denied"


def test_an_address_behind_nat64_is_judged_too():
    assert verdict("64:ff9b::a9fe:a9fe") == "metadata"
    assert verdict("64:ff9b::10.0.0.1", deny=["10.0.0.0/8"]) == "denied"
    assert verdict("64:ff9b::10.0.0.1", allow=["10.0.0.0/8"]) == "not_allowed"
    assert verdict("64:ff9b::10.0.0.1", allow=["64:ff9b::/96"]) == "dialled"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "is no address"),
        ("10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("[fd00::1/8]:1", "the network is fd00::/8"),
        ("10.0.0.0/33", "is no address"),
        ("10.0.0.300", "is no address"),
        ("127.1", "is no address"),
        ("0x7f000001", "is no address"),
        ("fd00::/8:443", "is no address"),
        ("[10.0.0.1]:1", "IPv4 stands without brackets"),
        ("[node]:1", "is no address"),
        ("node:0", "'0' is no port"),
        ("node:65536", "'65536' is no port"),
        ("node:9-8", "'9-8' is no port"),
        ("node:", "'' is no port"),
        ("node:http", "'http' is no port"),
        ("a*.example", "a * stands alone"),
        ("*example", "a * stands alone"),
        ("*.", "is no address"),
        ("a..b", "is no address"),
        ("a b", "is no address"),
        ("x" * 64, "is no address"),
    ],
)
def test_a_rule_that_cannot_be_read(rule, why):
    with pytest.raises(ValueError, match=r"is no|stand|network") as caught:
        parse_rule(rule)
    assert why in str(caught.value)


ipv4 = st.ip_addresses(v=4)
ports = st.integers(1, 65535)


@given(ipv4, ports, st.integers(0, 32))
def test_no_spelling_that_the_system_reads_gets_round_a_rule(address, port, prefix):
    """The address that `getaddrinfo` makes of each spelling is judged like the plain address."""
    number, parts = int(address), str(address).split(".")
    network = f"{IPv4Address(number >> (32 - prefix) << (32 - prefix))}/{prefix}"
    spellings = [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(map(hex, map(int, parts))),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"::ffff:{address}",
        f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}",
        f"0:0:0:0:0:FFFF:{address}",
    ]
    if number == 0 and prefix:  # this host
        network = "127.0.0.0/8"
    for spelling in spellings:
        for found in socket.getaddrinfo(spelling, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST):
            assert verdict(found[4][0], port, host=spelling, deny=[network]) == "denied"
            wanted = "metadata" if address in METADATA else "denied" if number == 0 else "dialled"
            allowed = verdict(found[4][0], port, host=spelling, allow=[network], deny=["127.0.0.1"])
            assert allowed == ("denied" if address == IPv4Address("127.0.0.1") else wanted)


@given(st.ip_addresses(v=6), st.integers(0, 128), st.sampled_from(["", "%1", "%lo"]))
def test_ipv6_in_every_notation(address, prefix, scope):
    mask = (1 << 128) - (1 << (128 - prefix))
    network = f"{IPv6Address(int(address) & mask)}/{prefix}"
    if address.ipv4_mapped or int(address) == 0:
        network = f"{canonical_address(str(address))}"
    for text in (str(address), address.exploded, address.exploded.upper()):
        assert verdict(text + scope, deny=[network]) == "denied"


@given(st.one_of(ipv4, st.ip_addresses(v=6)), st.lists(ipv4, max_size=3), st.lists(ipv4, max_size=3), ports)
def test_nothing_denied_is_ever_dialled_whatever_else_is_allowed(address, allow, deny, port):
    rules = [*map(str, deny), f"[{address}]" if address.version == 6 else str(address)]
    assert verdict(str(address), port, allow=[*map(str, allow), "*"], deny=rules) == "denied"


@given(st.text(max_size=80))
def test_any_text_is_a_rule_or_refused(text):
    try:
        rule = parse_rule(text)
    except ValueError:
        return
    assert rule.network is not None or rule.name


def test_canonical_addresses():
    for text, expected in {
        "::ffff:1.2.3.4": "1.2.3.4",
        "::": "::1",
        "0.0.0.0": "127.0.0.1",
        "fe80::1%3": "fe80::1",
    }.items():
        assert canonical_address(text) == ip_address(expected)

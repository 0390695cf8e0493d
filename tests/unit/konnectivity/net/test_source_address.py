"""Source address of a peer: the part that the peer cannot change at will."""

from __future__ import annotations

import pytest

from konnectivity.net.source_address import source_of, source_of_host


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1:40000", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:40000", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:3::1]:1", "2001:db8:1:3::/64"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("[fe80::1%eth0]:1", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_sources(address, source):
    assert source_of(address) == source


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_sources_without_a_port(host, source):
    assert source_of_host(host) == source

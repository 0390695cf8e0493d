"""Destination addresses in the spellings that occur."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity import destination


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[fd00::1]:443", ("fd00::1", 443)),
        ("node:0", ("node", 0)),
        (":8080", ("", 8080)),
    ],
)
def test_split(address, expected):
    assert destination.split(address) == expected


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1", "address 127.0.0.1: missing port in address"),
        ("a:99999", "address 99999: invalid port"),
        ("a:http", "address http: invalid port"),
        ("fd00::1:80", "address fd00::1:80: too many colons in address"),
        ("[fd00::1", "address [fd00::1: missing ']' in address"),
        ("[fd00::1]", "address [fd00::1]: missing port in address"),
        ("", "address : missing port in address"),
    ],
)
def test_what_is_no_address(address, text):
    with pytest.raises(ValueError, match=r".") as caught:
        destination.split(address)
    assert str(caught.value) == text


@given(st.text())
def test_any_text_splits_or_is_refused(text):
    destination.host_of(text)
    try:
        host, port = destination.split(text)
    except ValueError as error:
        assert str(error).startswith("address ")
    else:
        assert 0 <= port <= 65535
        assert host in text


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a"], [("a", 8132)]),
        (["a:1", "b"], [("a", 1), ("b", 8132)]),
        (["10.0.0.1:443"], [("10.0.0.1", 443)]),
        (["fd00::1"], [("fd00::1", 8132)]),
        (["[fd00::1]:443", "[fd00::2]"], [("fd00::1", 443), ("fd00::2", 8132)]),
        ([" a ", "a"], [("a", 8132)]),
    ],
)
def test_lists_of_hosts(texts, expected):
    assert destination.parse_hosts(texts, 8132) == expected


@pytest.mark.parametrize("text", ["", ":80", "a:", "a:x", "a:70000", "a:0", "[fd00::1]:0"])
def test_what_is_no_host(text):
    with pytest.raises(ValueError, match=r"names no host|has no port"):
        destination.parse_hosts([text], 8132)

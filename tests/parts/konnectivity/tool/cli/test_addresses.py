"""Addresses on the tool's command line: accepted spellings, and one line of error for others."""

from __future__ import annotations

import argparse

import pytest

from konnectivity.tool import admin_client
from konnectivity.tool.cli.main import main


def said(capsys, *arguments):
    """Run the tool and return its exit code and stderr."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8095", "127.0.0.1:8095"),
        ("http://127.0.0.1:8095/", "127.0.0.1:8095"),
        ("http://localhost:8095", "localhost:8095"),
        ("http://[::1]:8095/", "[::1]:8095"),
    ],
)
def test_admin_addresses(text, address):
    assert admin_client.address_of(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "h", "h:abc", "h:0", ":8095", "h:99999", "https://h:1/", "http://h:1/api", "http://", "a b:1", "h:1/"],
)
def test_what_is_no_admin_address(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write HOST:PORT"):
        admin_client.address_of(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("top", "--once", "--admin", "host:abc"),
        ("explain-route", "10.0.0.1:1", "--admin", "host:abc"),
        ("doctor", "--admin", "host:abc"),
        ("explain-route", ""),
        ("explain-route", "a b:1"),
        ("explain-route", "host:x"),
        ("explain-route", "\udcff"),
        ("curl", "http://a/", "--server", "unix:"),
        ("curl", "http://a/", "--server", "host:0", "--ca-cert=x"),
        ("curl", "http://a..b/", "--server", "unix:/x"),
        ("curl", "http://127.1/", "--server", "unix:/x"),
        ("curl", "http://a/", "--server", "unix:/x", "-d", "@/no/such/file"),
        ("dial", "a:1", "--server", "unix:"),
        ("dial", "a\r\nb:1", "--server", "unix:/x"),
        ("dial", "h:1 HTTP/1.1\r\nX: y", "--server", "unix:/x"),
        ("doctor", "--frontend", "unix:", "--dial", "a:1"),
        ("doctor", "--frontend", "unix:/x", "--dial", "a..b:1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments):
    code, text = said(capsys, *arguments)
    assert code == 2
    assert "Traceback" not in text
    assert "Errno" not in text
    assert text.splitlines()[-1].startswith(f"konnectivity {arguments[0]}: ")
    assert text.isprintable() or "\n" in text


@pytest.mark.parametrize("arguments", [("explain-route", "10.0.0.1:1"), ("top", "--once", "--interval=100ms")])
def test_the_url_of_the_page_is_taken_and_a_port_where_nobody_listens_told(capsys, arguments):
    code, text = said(capsys, *arguments, "--admin", "http://127.0.0.1:1/")
    assert code == 2
    assert "Traceback" not in text
    assert "Errno" not in text

"""Texts of errors: Go's, and never a number, a tuple or the name of a Python class."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.errors import TunnelLost
from konnectivity.net.error_texts import words_of
from support.checkout import ROOT

UGLY = re.compile(r"Errno|Error|Exception|exceptions|\('|0x")
CLASS_NAME = re.compile(r"type\((error|exc|failure|e)\)\.__name__|repr\((error|exc|failure)\)|\{(error|exc|failure)!r")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to host"),
        (OSError(errno.EINVAL, "Invalid argument"), "invalid argument"),
        (OSError(errno.EMFILE, "x", "/a/file"), "too many open files"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed (..), [Errno 101] x"), "connection refused"),
        (ConnectionResetError(), "connection reset by peer"),
        (BrokenPipeError(), "broken pipe"),
        (ConnectionRefusedError(), "connection refused"),
        (TimeoutError(), "i/o timeout"),
        (OSError(), "the connection was lost"),
        (Exception(), "an error without a text"),
        (TunnelLost("the agent is gone"), "the agent is gone"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "server misbehaving"),
        (asyncio.IncompleteReadError(b"", 5), "unexpected EOF"),
        (UnicodeError("label empty or too long"), "no such host"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "not text in UTF-8"),
    ],
)
def test_words(error, words):
    assert words_of(error) == words


def test_of_a_failed_handshake():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n")
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a")
    with pytest.raises(ssl.SSLError) as caught:
        session.do_handshake()
    assert words_of(caught.value) in ("wrong version number", "packet length too long", "record layer failure")


@given(st.sampled_from(sorted(errno.errorcode)), st.text(max_size=20))
def test_every_number_of_the_system_has_words(number, text):
    words = words_of(OSError(number, text))
    assert words
    assert not UGLY.search(words)
    assert not words[0].isupper()


def test_no_text_for_a_person_has_the_name_of_a_class():
    found = [
        f"{path}: {line.strip()}"
        for folder in ("konnectivity", "server", "agent")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "testing" not in path.parts
        for line in path.read_text().splitlines()
        if CLASS_NAME.search(line)
    ]
    assert found == []

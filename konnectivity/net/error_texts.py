"""Texts for errors of the operating system, of name resolution and of TLS: Go's words, without numbers or class names.

Every such error in an answer, a log line or a message for a person has its text from this module.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl

TIMEOUT = "i/o timeout"
NO_SUCH_HOST = "no such host"
_GO = {  # errors for which Go's words differ from those of some C libraries
    errno.ECONNREFUSED: "connection refused",
    errno.ENETUNREACH: "network is unreachable",
    errno.EHOSTUNREACH: "no route to host",
    errno.ECONNRESET: "connection reset by peer",
    errno.ETIMEDOUT: "connection timed out",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
    errno.EAFNOSUPPORT: "address family not supported by protocol",
    errno.EPERM: "operation not permitted",
    errno.EACCES: "permission denied",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files in system",
}
_BY_CLASS = (  # errors that Python raises without a number
    (ConnectionResetError, errno.ECONNRESET),
    (ConnectionRefusedError, errno.ECONNREFUSED),
    (ConnectionAbortedError, errno.ECONNABORTED),
    (BrokenPipeError, errno.EPIPE),
)
_NUMBER = re.compile(r"\[Errno (\d+)\]")


def words_of(error: BaseException) -> str:
    """Return the reason of a failure: one line that begins in lower case."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return lookup_words(error)
    if isinstance(error, OSError) and error.errno:
        return errno_words(error.errno)
    if isinstance(error, asyncio.IncompleteReadError | EOFError):
        return "unexpected EOF"
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    if isinstance(error, UnicodeError):  # raised by the codec for host names
        return NO_SUCH_HOST
    return _own_text(error)


def errno_words(number: int) -> str:
    """Return Go's words for an error number of the system."""
    if number in _GO:
        return _GO[number]
    words = os.strerror(number).lstrip(".")
    return words[:1].lower() + words[1:]


def lookup_words(error: socket.gaierror) -> str:
    """Return Go's words for a name that could not be resolved."""
    temporary = error.errno in (socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_FAIL)
    return "server misbehaving" if temporary else NO_SUCH_HOST


def _own_text(error: BaseException) -> str:
    """Return the text of an error without a number, or words for its class."""
    text = str(error)
    if number := _NUMBER.search(text):  # of several errors in one text, the first one is used
        return errno_words(int(number[1]))
    if text:
        return text
    if isinstance(error, TimeoutError):
        return TIMEOUT
    for kind, number_of_class in _BY_CLASS:
        if isinstance(error, kind):
            return errno_words(number_of_class)
    return "the connection was lost" if isinstance(error, OSError) else "an error without a text"

"""Probe of a frontend's unix socket for its protocol, without a dial; and comparison with an egress configuration."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from konnectivity.net.error_texts import words_of
from konnectivity.tool.check_results import CheckResult, failed, ok, warning

SOCKET, EGRESS = "frontend-socket", "egress"
GRPC, HTTP_CONNECT = "grpc", "http-connect"
PROTOCOLS = {"GRPC": GRPC, "HTTPConnect": HTTP_CONNECT}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # preface with empty SETTINGS
_SETTINGS = 4
_QUESTION = b"GET / HTTP/1.1\r\nHost: doctor\r\n\r\n"
_GROUP = 0o060


@dataclass(frozen=True, slots=True)
class SocketProtocol:
    """Protocols that a socket answers."""

    path: str
    error: str = ""
    modes: tuple[str, ...] = ()
    permissions: int = 0o770


async def listen(path: str, timeout_s: float) -> SocketProtocol:
    """Ask the socket by HTTP/1.1 and by HTTP/2."""
    try:
        found = os.stat(path)
        if not stat.S_ISSOCK(found.st_mode):
            return SocketProtocol(path, "is not a socket")
        answers = [await _asked(path, words, timeout_s) for words in (_PREFACE, _QUESTION)]
    except OSError as error:
        return SocketProtocol(path, "no answer" if isinstance(error, TimeoutError) else words_of(error))
    http2, http1 = answers
    modes: tuple[str, ...] = (GRPC,) if len(http2) >= 9 and http2[3] == _SETTINGS and not any(http2[5:9]) else ()
    modes += (HTTP_CONNECT,) if http1.startswith(b"HTTP/1.") else ()
    return SocketProtocol(path, "", modes, stat.S_IMODE(found.st_mode))


async def _asked(path: str, words: bytes, timeout_s: float) -> bytes:
    """Return the beginning of the answer, or b"" if the socket was closed or sent nothing."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(words)
            return await reader.read(64)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


def judge(found: SocketProtocol, expected: Iterable[str]) -> list[CheckResult]:
    """Check the socket of a server whose protocol should be `expected` (empty: any protocol)."""
    if found.error:
        do = "is the server running, and does it share this directory? is the path that of --uds-name? who may open it?"
        return [failed(SOCKET, found.path, found.error, do)]
    spoken = " and ".join(found.modes) or "neither gRPC nor HTTP CONNECT"
    missing = [each for each in expected if each not in found.modes]
    if missing or not found.modes:
        what = f"speaks {spoken}" + (f", not {' and '.join(missing)}" if missing else "")
        return [failed(SOCKET, found.path, what, "is it another server's socket, or one with another --mode?")]
    results = [ok(SOCKET, found.path, f"speaks {spoken}")]
    if found.permissions & _GROUP != _GROUP:
        what = f"mode {found.permissions:04o}: only its owner may connect"
        do = "0770, or kube-apiserver must run as the same user"
        results.append(warning("socket-permissions", found.path, what, do))
    return results


def judge_egress(where: str, protocol: str, found: SocketProtocol) -> CheckResult:
    """Compare one selection of an egress configuration with the protocol that its socket answers."""
    wanted = PROTOCOLS.get(protocol, "")
    if found.error:
        what = f"udsName {found.path}: {found.error} (on this machine)"
        return failed(EGRESS, where, what, "the path of --uds-name, as kube-apiserver's container sees it")
    if wanted not in found.modes:
        spoken = " and ".join(found.modes) or "neither"
        what = f"proxyProtocol {protocol} needs a server with --mode={wanted}; {found.path} speaks {spoken}"
        return failed(EGRESS, where, what, "change either; --mode=grpc,http-connect serves both")
    return ok(EGRESS, where, f"{protocol} to {found.path}, which speaks it")

"""Listening sockets: TCP on one address or all, unix with the mode its users need, and clear errors when they fail."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from konnectivity import door
from konnectivity.net.error_words import words_of

BACKLOG = 4096
TLS_HANDSHAKE_TIMEOUT_S = 10.0
SOCKET_MODE = 0o770


class ListenError(Exception):
    """A listener cannot be opened; `str()` says which and why."""


class Listener(Protocol):
    """What listens, until it is closed; connections that it took stay."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Who may come in by TCP."""

    tasks: asyncio.TaskGroup
    per_source: int = 0  # connections of one source address at a time; 0: any number
    handshake_timeout_s: float = TLS_HANDSHAKE_TIMEOUT_S
    shared: bool = False  # with other processes of this user
    reached: Counter[str] = field(default_factory=Counter)  # how often which limit was, by name


async def listen_tcp(
    what: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.BaseProtocol],
    shared: bool = False,
    handshake_timeout_s: float = TLS_HANDSHAKE_TIMEOUT_S,
) -> asyncio.Server:
    """Listen on `host` (empty: all interfaces, IPv4 and IPv6); `shared`: with other processes of this user."""
    loop = asyncio.get_running_loop()
    timeout = handshake_timeout_s if context is not None else None
    try:
        return await loop.create_server(
            factory,
            host or None,
            port,
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=timeout,
            reuse_port=shared or None,
        )
    except OSError as error:
        raise _cannot_listen(what, host, port, error) from error


async def admit_tcp(
    what: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.BaseProtocol],
    entry: Entry,
) -> Listener:
    """The same, for those that `entry` lets in."""
    if not entry.per_source:
        return await listen_tcp(what, host, port, context, factory, entry.shared, entry.handshake_timeout_s)
    try:
        sockets = door.bound(host, port, BACKLOG, entry.shared)
    except OSError as error:
        raise _cannot_listen(what, host, port, error) from error
    return door.Door(sockets, entry.per_source, context, entry.handshake_timeout_s, factory, entry.tasks, entry.reached)


def _cannot_listen(what: str, host: str, port: int, error: OSError) -> ListenError:
    return ListenError(f"cannot listen on {host or '*'}:{port} for {what}: {_text(error)}")


async def listen_unix(
    what: str, path: str, replace: bool, factory: Callable[[], asyncio.BaseProtocol]
) -> asyncio.Server:
    """Listen on a unix socket of mode 0770; what stands at `path` is removed first if `replace`."""
    return await serve_unix(bind_unix(what, path, replace), factory)


async def serve_unix(sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Take connections of a unix socket that is bound already."""
    return await asyncio.get_running_loop().create_unix_server(factory, sock=sock, backlog=BACKLOG)


def bind_unix(what: str, path: str, replace: bool) -> socket.socket:
    """A unix socket of mode 0770, bound with that mode from the start: nobody else can connect in between.

    Raises:
        ListenError: it cannot be had.
    """
    try:
        if replace:
            _remove(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            sock.bind(path)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(mask)
        sock.setblocking(False)
        return sock
    except OSError as error:
        raise ListenError(f"cannot listen on unix socket {path!r} for {what}: {_text(error)}") from error


def remove_socket(path: str) -> None:
    """Remove a socket we listened on, at exit."""
    with suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            raise IsADirectoryError(21, "it is a directory")
        os.unlink(path)


def _text(error: OSError) -> str:
    return words_of(error)

"""Outgoing TCP connection to one of several addresses: IPv4 and IPv6 in parallel (RFC 8305).

Owns the sockets until one of them is connected. Does not resolve names. A single address needs no race: `connect_one`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from konnectivity.net.error_texts import words_of
from konnectivity.net.tcp_keepalive import keep_alive
from konnectivity.runtime import task_guard

ATTEMPT_DELAY_S = 0.25  # between the beginnings of two attempts (RFC 8305 section 5)

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]  # an item of `socket.getaddrinfo`


class ConnectError(OSError):
    """Failure of all addresses, with the error of the first one.

    Attributes:
        address: "host:port" of the first address, numeric.
        step: Go's name of the system call that failed.

    """

    def __init__(self, address: str, step: str, error: BaseException) -> None:
        words = words_of(error)
        super().__init__(getattr(error, "errno", None) or 0, words)
        self.address = address
        self.step = step
        self.words = words

    def __str__(self) -> str:
        return f"{self.address}: {self.step}: {self.words}"


Attempt = asyncio.Task[socket.socket | ConnectError | None]
_NO_SOCKET = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAFNOSUPPORT)  # errors of socket(2)


async def connect_one(
    loop: asyncio.AbstractEventLoop, info: AddressInfo, protocol: asyncio.BaseProtocol
) -> asyncio.Transport:
    """Connect a protocol to one IPv4 address, and return its transport.

    The event loop opens the socket, with a third of the system calls of `connect_any`. (To some IPv6 addresses that
    the kernel refuses, uvloop would try to connect for ever.)

    Raises:
        ConnectError: the address failed.

    """
    family, _, number, _, address = info
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol, address[0], address[1], family=family, proto=number
        )
    except Exception as error:  # as in `_attempt`; not all are OSError
        step = "socket" if getattr(error, "errno", None) in _NO_SOCKET else "connect"
        raise ConnectError(where(address), step, error) from None
    return transport


async def connect_any(addresses: Sequence[AddressInfo], delay_s: float = ATTEMPT_DELAY_S) -> socket.socket:
    """Return a socket connected to the address that answered first.

    Args:
        addresses: at least one; the first one is tried first, then the families alternate.
        delay_s: seconds before the next address is tried while one has not answered.

    Raises:
        ConnectError: every address failed.

    """
    if len(addresses) == 1:
        outcome = await _attempt(addresses[0])
        if not isinstance(outcome, ConnectError):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # its traceback refers to this frame, which would be a cycle for the garbage collector
    attempts: list[Attempt] = []
    chosen: socket.socket | None = None
    try:
        async with asyncio.TaskGroup() as group:
            left = deque(_interleaved(addresses))
            while chosen is None and (left or not all(each.done() for each in attempts)):
                if left:
                    attempts.append(task_guard.start(group, partial(_attempt, left.popleft()), "connect"))
                running = [each for each in attempts if not each.done()]
                pause_s = delay_s if left else None
                await asyncio.wait(running, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                chosen = next(_connected(attempts), None)
            for each in attempts:
                each.cancel()
    except BaseException:
        chosen = None
        raise
    finally:
        for sock in _connected(attempts):
            if sock is not chosen:
                sock.close()
    if chosen is None:
        raise _first_failure(attempts)
    return chosen


def where(address: tuple[Any, ...]) -> str:
    """Return "host:port" of a socket address."""
    host, port = address[0], address[1]
    if len(address) > 3 and address[3] and "%" not in host:  # a zone
        with suppress(OSError):
            host = f"{host}%{socket.if_indextoname(address[3])}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _attempt(info: AddressInfo) -> socket.socket | ConnectError:
    family, kind, protocol, _, address = info
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        return ConnectError(where(address), "socket", error)
    try:
        sock.setblocking(False)
        keep_alive(sock, family)
        await _connected_to(address, sock, asyncio.get_running_loop())
    except Exception as error:  # a port above 65535 raises OverflowError
        sock.close()
        return ConnectError(where(address), "connect", error)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connected_to(address: tuple[Any, ...], sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """Connect a socket that does not block; uvloop's `sock_connect` would first look the address up in a thread."""
    error = sock.connect_ex(address)
    if error in (errno.EINPROGRESS, errno.EINTR):
        done: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock, _writable, done)
        try:
            await done
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _writable(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _first_failure(attempts: Iterable[Attempt]) -> ConnectError:
    return next(found for found in (each.result() for each in attempts) if isinstance(found, ConnectError))


def _connected(attempts: Iterable[Attempt]) -> Iterator[socket.socket]:
    for each in attempts:
        if each.done() and not each.cancelled() and isinstance(found := each.result(), socket.socket):
            yield found


def _interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Return the addresses with alternating families, beginning with the family of the first one."""
    by_family: dict[int, list[AddressInfo]] = {}
    for each in addresses:
        by_family.setdefault(each[0], []).append(each)
    return [each for each in chain.from_iterable(zip_longest(*by_family.values())) if each is not None]

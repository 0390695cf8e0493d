"""Probe of name servers: whether they answer for a name, before a thread waits for that answer.

Owns the sockets to the name servers, which exist while a probe is under way. A thread that looks a name up cannot be
called off; a probe can: it is a future and two datagrams, which ask the questions of the C library. The content of an
answer is not used, only the fact that there is one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from konnectivity.runtime.changing_file import ChangingFile
from konnectivity.untrusted.file_content import read_file
from konnectivity_agent import name_servers
from konnectivity_agent.name_servers import Configuration, Reply

RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"
PORT = 53
MAX_PROBES = 4096  # concurrent probes; a name beyond the limit is not looked up
PROMPT_S = 1.0  # a name whose probe takes longer is a slow one
RESEND_S, RESENDS = 0.4, 3  # a datagram may be lost
MAX_FILE = 1024 * 1024  # bytes that are read of a file
MAX_MESSAGE = 4096  # bytes that are read of an answer
_AT_ONCE = 64  # answers read in one pass of the event loop
_TYPES = (name_servers.TYPE_A, name_servers.TYPE_AAAA)


class Silence(OSError):
    """No name server answers for a name, or more names than there may be wait for an answer."""


class Probe:
    """Asks name servers about names, many at a time.

    Args:
        resolv_conf, hosts: configuration files of the system's resolver.
        port: of the name servers.
        most: number of probes at a time; more are refused.
        clock: seconds of a monotonic clock.

    """

    def __init__(
        self,
        resolv_conf: str = RESOLV_CONF,
        hosts: str = HOSTS,
        port: int = PORT,
        most: int = MAX_PROBES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._configuration = ChangingFile(
            "Configuration of name servers", resolv_conf, _read_configuration, lambda found: len(found.servers), clock
        )
        self._hosts = ChangingFile("File of host names", hosts, _read_hosts, len, clock)
        self._most = most
        self._clock = clock
        self._servers: dict[str, _NameServer] = {}
        self._port = port
        self._running = 0

    @property
    def full(self) -> bool:
        """Return whether as many probes are under way as there may be."""
        return self._running >= self._most

    def knows(self, name: str) -> bool:
        """Return whether a name is looked up in a file of this machine, and no name server is asked."""
        return name.lower().rstrip(".") in self._hosts.newest()

    async def ask(self, name: str) -> bool:
        """Wait until name servers have answered for a name. Return whether they did so promptly, and whole.

        Raises:
            Silence: no server answered within its time, or too many probes are under way.

        """
        if self.full:
            raise Silence("too many names wait for a name server")
        began = self._clock()
        self._running += 1
        try:
            reply = await self._walk(name, self._configuration.newest())
        finally:
            self._running -= 1
            if not self._running:
                self._close()
        return reply is not Reply.TRUNCATED and self._clock() - began < PROMPT_S

    async def _walk(self, name: str, configuration: Configuration) -> Reply:
        """Ask for one full name after the other until one is found, as the C library does."""
        reply = Reply.NOTHING
        for candidate in configuration.candidates(name):
            reply = await self._answer(candidate, configuration)
            if reply is not Reply.NOTHING:
                break
        return reply

    async def _answer(self, name: str, configuration: Configuration) -> Reply:
        """Ask one server after the other until one does not fail."""
        failed = False
        for address in configuration.servers:
            with suppress(TimeoutError):
                async with asyncio.timeout(configuration.timeout_s):
                    reply = await self._server(address).ask(name)
                if reply is not Reply.FAILURE:
                    return reply
                failed = True
        if not failed:
            raise Silence(f"no name server answers for {name}")
        return Reply.FAILURE

    def _server(self, address: str) -> _NameServer:
        if address not in self._servers:
            self._servers[address] = _NameServer(address, self._port)
        return self._servers[address]

    def _close(self) -> None:
        for each in self._servers.values():
            each.close()
        self._servers.clear()


class _NameServer:
    """A datagram socket to one name server, and the questions that wait for its answers."""

    def __init__(self, address: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[bytes, asyncio.Future[Reply]]] = {}
        self._socket = _connected(address, port)
        if self._socket is not None:
            self._loop.add_reader(self._socket, self._readable)

    async def ask(self, name: str) -> Reply:
        """Ask for both kinds of addresses, and return the reply that counts."""
        if self._socket is None:
            return Reply.FAILURE
        numbers = [self._expect(name_servers.question_of(name, kind)) for kind in _TYPES]
        futures = [self._waiting[number][1] for number in numbers]
        try:
            for _ in range(RESENDS):
                self._send(numbers)
                await asyncio.wait(futures, timeout=RESEND_S)
            replies = [await each for each in futures]
        finally:
            for number in numbers:
                self._waiting.pop(number)[1].cancel()
        return Reply.FAILURE if Reply.FAILURE in replies else max(replies)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _expect(self, question: bytes) -> int:
        """Return the number under which the answer to a question is waited for."""
        number = secrets.randbelow(1 << 16)
        while number in self._waiting:
            number = secrets.randbelow(1 << 16)
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[number] = question, future
        return number

    def _send(self, numbers: list[int]) -> None:
        """Send the questions that have no answer yet. One that the socket does not take is as good as lost."""
        assert self._socket is not None
        for number in numbers:
            question, future = self._waiting[number]
            try:
                if not future.done():
                    self._socket.send(name_servers.query(number, question))
            except BlockingIOError:
                return
            except OSError:
                self._gone()

    def _gone(self) -> None:
        """Answer all questions: the system says once that nobody listens there, to whichever call comes next."""
        for _, future in self._waiting.values():
            _settle(future, Reply.FAILURE)

    def _readable(self) -> None:
        assert self._socket is not None
        for _ in range(_AT_ONCE):
            try:
                message = self._socket.recv(MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                self._gone()
                return
            if (asked := self._waiting.get(name_servers.number_of(message))) is not None:
                question, future = asked
                if (reply := name_servers.read_reply(message, question)) is not None:
                    _settle(future, reply)


def _read_configuration(path: str) -> Configuration:
    return name_servers.read_configuration(_text_of(path), os.environ)


def _read_hosts(path: str) -> frozenset[str]:
    return name_servers.read_hosts(_text_of(path).splitlines())


def _text_of(path: str) -> str:
    """Return the text of a file; empty if it cannot be read, as for the C library."""
    try:
        return read_file(path, MAX_FILE).decode("utf-8", "replace")
    except OSError:
        return ""


def _settle(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _connected(address: str, port: int) -> socket.socket | None:
    """Return a socket that sends to a name server; None if its address is none, or there is no way there."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found: tuple[Any, ...] = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)[0]
        sock = socket.socket(found[0], socket.SOCK_DGRAM)
    except (OSError, ValueError):
        return None
    try:
        sock.setblocking(False)
        sock.connect(found[4])
    except OSError:
        sock.close()
        return None
    return sock

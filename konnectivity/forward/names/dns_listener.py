"""DNS listener of a forward proxy, by UDP and TCP, for programs that resolve names themselves.

Owns its sockets. A name that the rules leave to agents is answered by the cluster's DNS if there is one, and else
refused. Does not know how a name is resolved.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from contextlib import suppress
from typing import Any

from konnectivity.errors import DialError
from konnectivity.forward.names import dns_messages, name_rules
from konnectivity.forward.names.dns_messages import DnsAnswer, DnsError, Question
from konnectivity.forward.names.name_resolution import NameResolution
from konnectivity.net.error_texts import words_of
from konnectivity.net.socket_listeners import Listener, ListenError, listen_tcp
from konnectivity.runtime import logs, task_guard

log = logs.get(__name__)

MAX_QUERIES = 512  # that wait for their answers
MAX_CLIENTS = 256  # connections by TCP
IDLE_S = 10.0  # between two queries of a connection
MADE_TTL_S = 5.0  # seconds for which an answer that is not the cluster DNS's may be kept


class DnsListener:
    """Listener on one address.

    Args:
        names: the rules and the resolvers.
        tasks: owns the tasks of queries.
        reached: number of times each limit was reached, by name.

    """

    def __init__(self, names: NameResolution, tasks: asyncio.TaskGroup, reached: Counter[str]) -> None:
        self._names = names
        self._tasks = tasks
        self._reached = reached
        self._queries = 0
        self._clients = 0
        self._listener: Listener | None = None
        self._datagrams: asyncio.DatagramTransport | None = None

    async def open(self, host: str, port: int, shared: bool = False) -> None:
        """Listen on an address; `shared`: other processes of this user may listen on it, too.

        Raises:
            ListenError: the address cannot be bound.

        """
        self._listener = await listen_tcp("DNS", host, port, None, self._protocol, shared)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            made = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self), (host, port), family=family, reuse_port=shared or None
            )
        except OSError as error:
            raise ListenError(f"cannot listen on {host or '*'}:{port} for DNS by UDP: {words_of(error)}") from error
        self._datagrams = made[0]
        log.info("Listening for DNS", address=f"{host or '*'}:{port}")

    def close(self) -> None:
        """Close the sockets."""
        if self._listener is not None:
            self._listener.close()
        if self._datagrams is not None:
            self._datagrams.close()

    def received(self, data: bytes, sender: Any) -> None:
        """Answer a datagram, unless it is no query or too many queries wait."""
        if self._queries >= MAX_QUERIES:
            self._reached["forward_dns_queries"] += 1
            return
        self._queries += 1
        task = task_guard.start(self._tasks, lambda: self._answer_datagram(data, sender), "forward DNS")
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._queries -= 1

    async def _answer_datagram(self, data: bytes, sender: Any) -> None:
        answer = await self._answer(data, by_udp=True)
        if answer and self._datagrams is not None and not self._datagrams.is_closing():
            self._datagrams.sendto(answer, sender)

    # ---- TCP ------------------------------------------------------------------------------------------------------

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._accepted)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MAX_CLIENTS:
            self._reached["forward_dns_queries"] += 1
            writer.transport.abort()
            return
        self._clients += 1
        task = task_guard.start(self._tasks, lambda: self._serve(reader, writer), "forward DNS")
        task.add_done_callback(lambda ended: self._left(ended, writer))

    def _left(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._clients -= 1
        if task.cancelled():  # perhaps before it began
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the queries of a connection one after the other."""
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(IDLE_S):
                        (size,) = struct.unpack("!H", await reader.readexactly(2))
                        data = await reader.readexactly(size)
                    answer = await self._answer(data, by_udp=False)
                    if not answer:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    async with asyncio.timeout(IDLE_S):
                        await writer.drain()
        finally:
            writer.close()

    # ---- answers --------------------------------------------------------------------------------------------------

    async def _answer(self, data: bytes, by_udp: bool) -> bytes:
        """Return the bytes of the answer; empty if the bytes are no query."""
        message = dns_messages.read_query(data)
        if message is None:
            return b""
        answer, age_s = await self._resolved(dns_messages.asked(message))
        return dns_messages.answer_to(message, answer, age_s, by_udp)

    async def _resolved(self, question: Question) -> tuple[DnsAnswer | None, float]:
        """Return the answer to a question, and its age; None if the name is not resolved here."""
        names, name = self._names, question[0].rstrip(".")
        answer: tuple[DnsAnswer | None, float] = (None, 0.0)
        for way in map(_listened, names.rules.ways_of(name)):
            try:
                if way != name_rules.CLUSTER_DNS:
                    found = await names.addresses(name, way)
                    answer = _answer_of(question, found), 0.0
                elif names.cluster_dns is not None:
                    answer = await names.cluster_dns.answer(question)
            except (DialError, DnsError):
                answer = dns_messages.failed(), 0.0
            if answer[0] is not None and answer[0].records:
                break
        return answer


def _listened(way: str) -> str:
    """Return the way that answers a question where the way of a dial resolves nothing here."""
    return {name_rules.AGENT: name_rules.CLUSTER_DNS, name_rules.DIRECT: name_rules.LOCAL}.get(way, way)


def _answer_of(question: Question, found: list[str]) -> DnsAnswer:
    return dns_messages.made_answer(question, found, MADE_TTL_S) if found else dns_messages.no_such_name()


class _Datagrams(asyncio.DatagramProtocol):
    """Protocol of the UDP socket."""

    def __init__(self, listener: DnsListener) -> None:
        self._listener = listener

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._listener.received(data, addr)

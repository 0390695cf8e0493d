"""DNS of the cluster behind the agents: questions by TCP through the tunnel, and answers kept for their time to live.

Owns the kept answers, and one connection for each question that is asked. Equal questions are asked once at a time.
Does not know which names it is asked for.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from konnectivity.client.byte_pump import Streams
from konnectivity.errors import DialError
from konnectivity.forward.names import dns_messages
from konnectivity.forward.names.dns_messages import DnsAnswer, DnsError, Question
from konnectivity.kube.api_error import KubeError
from konnectivity.untrusted.bounded_map import BoundedMap

TIMEOUT_S = 5.0  # for one name server
MAX_ANSWERS, MAX_BYTES = 4096, 4 * 1024 * 1024
MAX_AT_ONCE = 64  # questions
_RECORD_BYTES = 300  # memory of one record

Dial = Callable[[str], Awaitable[Streams]]


class ClusterDns:
    """DNS of a cluster.

    Args:
        servers: addresses of name servers, "host:port", asked one after the other.
        dial: connects to one through the tunnel.
        clock: seconds, monotonic.

    """

    def __init__(self, servers: Sequence[str], dial: Dial, clock: Callable[[], float] = monotonic) -> None:
        self._servers = servers
        self._dial = dial
        self._clock = clock
        self._kept: BoundedMap[Question, tuple[DnsAnswer, float]] = BoundedMap(
            MAX_ANSWERS, MAX_BYTES, lambda question, kept: _RECORD_BYTES * (1 + sum(map(len, kept[0].records)))
        )
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._asking: dict[Question, asyncio.Future[DnsAnswer]] = {}

    async def answer(self, question: Question) -> tuple[DnsAnswer, float]:
        """Return the answer to a question, and its age in seconds.

        Raises:
            DnsError: no name server answers.

        """
        kept = self._kept.get(question)
        if kept is not None and (age := self._clock() - kept[1]) < kept[0].ttl_s:
            return kept[0], age
        other = self._asking.get(question)
        if other is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                return other.result(), 0.0
        waiting = self._asking[question] = asyncio.get_running_loop().create_future()
        try:
            found = await self._ask(question)
            waiting.set_result(found)
        finally:
            waiting.cancel()  # without effect on a result
            if self._asking.get(question) is waiting:
                del self._asking[question]
        self._kept[question] = found, self._clock()
        return found, 0.0

    async def addresses(self, name: str) -> list[str]:
        """Return the IPv4 addresses of a name, and then its IPv6 addresses; empty if the name has none.

        Raises:
            DnsError: no name server answers, or the text is no name.

        """
        questions = [dns_messages.question_of(name, kind) for kind in (dns_messages.A, dns_messages.AAAA)]
        found = await asyncio.gather(*map(self.answer, questions))
        return [address for answer, _ in found for address in answer.addresses()]

    async def _ask(self, question: Question) -> DnsAnswer:
        problem = ""
        async with self._turns:
            for server in self._servers:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        return await self._ask_one(server, question)
                except TimeoutError:
                    problem = f"no answer from {server} in {TIMEOUT_S:g} s"
                except (DialError, DnsError, KubeError, OSError, asyncio.IncompleteReadError) as error:
                    problem = f"{server}: {error}"
        raise DnsError(f"the cluster's DNS does not answer: {problem}")

    async def _ask_one(self, server: str, question: Question) -> DnsAnswer:
        sent = dns_messages.query(question)
        data = sent.to_wire()
        reader, writer = await self._dial(server)
        try:
            writer.write(struct.pack("!H", len(data)) + data)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return dns_messages.read_answer(sent, await reader.readexactly(size))
        finally:
            writer.close()

"""Name server of a cluster, by TCP on loopback: prepared records, and a count of the questions."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from support.targets import listening


class TcpNameServer:
    """Records of a name server, changed by the test.

    Attributes:
        records: texts such as "10.0.0.1", by name with a final dot and type.
        ttl_s: of every record.
        asked: number of questions, by name.
        raw: bytes to answer in place of a message; None: a message.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl_s = 30
        self.asked: Counter[str] = Counter()
        self.raw: bytes | None = None
        self.address = ""

    async def serve(self, reader, writer) -> None:
        while size := await reader.read(2):
            data = await reader.readexactly(struct.unpack("!H", size)[0])
            answer = self._answer(data) if self.raw is None else self.raw
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()

    def _answer(self, data: bytes) -> bytes:
        message = dns.message.from_wire(data)
        question = message.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name] += 1
        answer = dns.message.make_response(message)
        texts = self.records.get((name, kind), [])
        if texts:
            answer.answer.append(dns.rrset.from_text_list(name, self.ttl_s, "IN", kind, texts))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()


@asynccontextmanager
async def tcp_name_server() -> AsyncIterator[TcpNameServer]:
    """Run a name server during the block."""
    made = TcpNameServer()
    async with listening(made.serve) as made.address:
        yield made


@contextmanager
def name_server(records: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    """Run a name server in a thread during the block, for whole programs; yield its address."""
    loop, address = asyncio.new_event_loop(), []
    ready, end = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with tcp_name_server() as made:
            made.records = records
            address.append(made.address)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()

"""Tests of a server that sends invalid answers, or floods: the agent's cost is bounded, its other tunnel unaffected."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextlib import asynccontextmanager

import pytest
from attack_site import MIB, honest, measured, memory_returns
from raw_http2 import literal

from konnectivity import wire
from konnectivity.http2 import frames
from support.http2_peer import message

SENT_S = 3.0  # seconds for which the honest client is measured
OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
EXTENSION = (b"konnectivity-extension", b"1; window=65536; instance=bad")
GREETING = frames.settings({}) + frames.window_update(0, 2**30)


def server(server_id: bytes = b"bad", count: bytes = b"1") -> list[tuple[bytes, bytes]]:
    """Return the headers of a server's answer."""
    return [*OK, (b"serverid", server_id), (b"servercount", count), EXTENSION]


def answer(fields: list[tuple[bytes, bytes]]) -> bytes:
    block = b"".join(literal(name, value) for name, value in fields)
    return b"".join(frames.header_block(1, block, False, frames.DEFAULT_FRAME_SIZE))


def data(*packets: bytes) -> bytes:
    """Return the packets in DATA frames."""
    said = b"".join(map(message, packets))
    size = frames.DEFAULT_FRAME_SIZE
    return b"".join(frames.frame(frames.DATA, 0, 1, said[at : at + size]) for at in range(0, len(said), size))


class HostileServer:
    """Server that answers each agent, and floods once `told` is set. `count`: connections so far."""

    def __init__(self, said: bytes, flood: bytes = b"", reads: bool = True, hangs_up: bool = False) -> None:
        self.port = 0
        self.count = 0
        self.told = asyncio.Event()
        self._said, self._flood, self._reads, self._hangs_up = said, flood, reads, hangs_up
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self, site):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.path("server.crt"), site.path("server.key"))
        context.set_alpn_protocols(["h2"])
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            await self._say(reader, writer)
        writer.transport.abort()
        self._writers.discard(writer)

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.read(1024)
        writer.write(self._said)
        if self._hangs_up:
            await writer.drain()
            return
        if self._flood:
            await self.told.wait()
            writer.write(self._flood)
        if not self._reads:
            await asyncio.sleep(60)
        while await reader.read(1 << 20):
            pass


def dials(number: int, address: str) -> bytes:
    return data(*(wire.dial_req(address.replace("%d", str(each)), each + 1) for each in range(number)))


SENSELESS = {
    "count --5": server(count=b"--5"),
    "count of 400 digits": server(count=b"9" * 400),
    "count of 5000 digits": server(count=b"9" * 5000),
    "count -1": server(count=b"-1"),
    "count of other digits": server(count="\u0663".encode()),
    "count that is no UTF-8": server(count=b"\xff\xfe"),
    "empty id": server(server_id=b""),
    "id of 30,000 characters": server(server_id=b"x" * 30_000),
    "id that is no UTF-8": server(server_id=b"\xff\xfe"),
    "two ids": [*server(), (b"serverid", b"worse")],
    "no id": OK,
    "status 500": [(b":status", b"500")],
    "status that is no number": [(b":status", b"\xff")],
    "instance of 30,000 characters": [
        *server()[:-1],
        (b"konnectivity-extension", b"1; window=1; instance=" + b"x" * 30_000),
    ],
    "window of 5000 digits": [*server()[:-1], (b"konnectivity-extension", b"1; window=" + b"9" * 5000)],
}
FLOODS = {
    "counts that are none": data(wire.server_count(-5), wire.server_count(2**31 - 1), wire.server_count(0)),
    "20,000 counts": data(*(wire.server_count(each % 2 + 2) for each in range(20_000))),
    "20,000 farewells": data(*([wire.drain()] * 20_000)),
    "200,000 empty messages": data(*([b""] * 200_000)),
    "20,000 dials that are refused": dials(20_000, "127.0.0.1:1"),
    "20,000 dials of metadata": dials(20_000, "169.254.169.254:80"),
    "5,000 dials of names": dials(5_000, "n%d.invalid:80"),
    "20,000 dials that no one answers": dials(20_000, "192.0.2.1:80"),
    "20,000 dials of nonsense": dials(20_000, "\x00\n"),
}


async def beside_a_good_server(site, *bad: HostileServer):
    """Attack the agent of a good server. Return the agent, the cost, the honest client's times, and memory before."""
    await asyncio.to_thread(site.server, "--server-id=good")
    async with contextlib.AsyncExitStack() as stack:
        for each in bad:
            await stack.enter_async_context(each.listening(site))
        hosts = ",".join(f"127.0.0.1:{port}" for port in (site.agent_port, *(each.port for each in bad)))
        pace = "--sync-interval=1s"  # the default; other tests use a shorter interval
        agent = await asyncio.to_thread(site.agent, f"--proxy-server-host={hosts}", pace)
        await asyncio.to_thread(agent.wait_for, 'server="good"')
        async with honest(site) as times, measured(agent) as cost:
            for each in bad:
                each.told.set()
            await asyncio.sleep(SENT_S)
        assert agent.returncode is None, agent.log[-2000:]
        assert "Traceback" not in agent.log
        assert "Unexpected error" not in agent.log
        print(f"CPU {cost.cpu_s:.2f} s, +{cost.memory_growth / MIB:.0f} MiB, log {cost.log_bytes}; {times.summary()}")
        await memory_returns(agent, cost.memory_before, 30, slack=12 * MIB)  # Python's own slack
        return agent, cost, times


async def test_answers_that_make_no_sense_cost_those_servers_and_no_other(site):
    """Servers with invalid answers cost the agent few attempts and log lines, and its good server no time."""
    bad = [HostileServer(answer(fields)) for fields in SENSELESS.values()]
    agent, cost, times = await beside_a_good_server(site, *bad)
    times.check()
    assert all(1 <= each.count < 30 for each in bad), [each.count for each in bad]
    refused = [line for line in agent.log.splitlines() if "Cannot connect to the server" in line]
    accepted = agent.log.count('"Connected to server"') - 1
    assert len(refused) + accepted <= 2 * len(bad), refused
    assert refused
    assert max(map(len, refused)) < 1500
    assert cost.memory_growth < 10 * MIB


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_costs_little_and_no_other_server(site, flood):
    bad = HostileServer(answer(server()), flood)
    agent, cost, times = await beside_a_good_server(site, bad)
    times.check(echo_ms=100)
    assert bad.count < 20
    assert agent.log_path.stat().st_size < 200_000
    assert cost.memory_growth < 30 * MIB


async def test_a_server_that_floods_and_does_not_read(site):
    bad = HostileServer(answer(server()), dials(50_000, "127.0.0.1:1"), reads=False)
    _, cost, times = await beside_a_good_server(site, bad)
    times.check(echo_ms=100)
    assert cost.memory_growth < 40 * MIB


async def test_a_server_that_accepts_and_hangs_up(site):
    bad = HostileServer(answer(server()) + data(wire.drain()), hangs_up=True)
    _, cost, times = await beside_a_good_server(site, bad)
    times.check()
    assert bad.count < 15
    assert cost.cpu_s < 2

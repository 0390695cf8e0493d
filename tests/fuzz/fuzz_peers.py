"""In-memory streams and transports for fuzzing a tunnel and a CONNECT client without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import Buffer, MessageStream, Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import OK, Status
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.frontends.connect_frontend import ConnectFrontend
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.registry import Registry

Result = TypeVar("Result")


def run(work: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    """Run `work` on an event loop of its own; raise what it or a callback raises."""

    async def guarded() -> Result:
        raised: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: raised.append(context.get("exception") or AssertionError(context))
        )
        result = await work(*arguments)
        await asyncio.sleep(0)
        if raised:
            raise raised[0]
        return result

    return asyncio.run(guarded())


class MemoryStream(MessageStream):
    """Stream that only counts the bytes sent."""

    def __init__(self) -> None:
        self.peer = Peer("memory")
        self.metadata = Metadata(())
        self.path = "/memory"
        self.receiver = None
        self.sent = 0
        self.ended = False

    @property
    def congested(self) -> bool:
        return False

    def accept(self, metadata: dict[str, str]) -> None:
        return

    def send(self, head: bytes, body: Buffer = b"") -> None:
        self.sent += len(head) + len(body)

    def hold(self) -> None:
        return

    def release(self) -> None:
        return

    def widen(self, size: int) -> None:
        return

    def finish(self, status: Status = OK) -> None:
        self.ended = True

    def abort(self, message: str = "") -> None:
        self.ended = True


class Sink:
    """Local side that accepts 1,000 bytes, then nothing more."""

    def __init__(self) -> None:
        self.kept = 0

    def write(self, data: Buffer) -> bool:
        self.kept += len(data)
        return self.kept < 1000

    def write_eof(self) -> None:
        return

    def close(self) -> None:
        return

    def abort(self, reason: str) -> None:
        self.kept = 0

    def buffered(self) -> int:
        return self.kept

    def watch(self, left: int) -> None:
        return

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return


class Asking:
    """Dial that accepts any connection."""

    address = "node:1"
    protocol = "tcp"
    origin = ""
    is_probe = False

    def dial_succeeded(self, link: Connection) -> bool:
        link.attach(Sink())
        link.outbound.send(b"hello")
        return True

    def dial_failed(self, error: DialError) -> None:
        assert str(error) is not None


def _open(dial: IncomingDial) -> None:
    if dial.address.startswith("no"):
        dial.failed("refused")
    elif not dial.address.startswith("slow"):
        dial.connected(Sink())


async def tunnels(messages: list[memoryview]) -> None:
    said = sum(map(len, messages))
    for extension in (False, True):
        ledger = MemoryBudget(process_budget=10_000, tunnel_budget=8000, connection_budget=2000, initial_window=1000)
        for make in (_dialing, _serving):
            tunnel = make(TunnelOptions(memory=ledger, extension=extension))
            tunnel.negotiate(Extension(1000) if extension else None)
            for message in messages:
                tunnel.message_received(message)
            stream: Any = tunnel.stream
            assert stream.sent <= 20 * said + 120 * len(messages) + 2000, "more answers than what was said is worth"
            assert len(tunnel.connections) <= len(messages)
            tunnel.stream_closed(OK)
            assert not tunnel.connections
            assert tunnel.memory.used == ledger.used == 0, "memory of connections that are gone is still counted"


def _dialing(options: TunnelOptions) -> Tunnel:
    tunnel = DialingTunnel(MemoryStream(), options, sides.SERVER, sides.CLIENT)
    for number in range(1, 6):  # small numbers that fuzzed bytes can contain
        tunnel.pending[number] = tunnel.pending.pop(tunnel.ask(Asking()))
    return tunnel


def _serving(options: TunnelOptions) -> Tunnel:
    return ServingTunnel(MemoryStream(), options, sides.SERVER, sides.CLIENT, _open)


class MemoryTransport(asyncio.Transport):
    """Socket whose other end reads everything."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self.paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol: Any = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written += data

    def write_eof(self) -> None:
        self.closing = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def connect(data: bytes, size: int) -> tuple[bytes, bool]:
    """Feed a CONNECT client's bytes to a frontend without agents; return its answer and whether it hung up."""
    dials = PendingDials(Registry(), ["default"], 10.0, MemoryBudget(), TunnelStats())
    frontend = ConnectFrontend(dials.dial)
    transport = MemoryTransport()
    protocol = frontend.protocol()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    for at in range(0, len(data), size):
        if transport.closing or transport.paused:
            break
        transport.protocol.data_received(data[at : at + size])
    assert len(transport.written) <= 20 * len(data) + 500
    assert frontend.clients in (0, 1)
    transport.protocol.connection_lost(None)
    assert frontend.clients == 0
    written = b"\n".join(line for line in transport.written.split(b"\n") if not line.startswith(b"Date: "))
    return written, transport.closing

"""PROXY protocol headers at a listener: a trusted balancer's client counts and is shown, and TLS follows the header."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from konnectivity.grpc.peer import peer_of
from konnectivity.net import source_limit
from konnectivity.net.proxied_sources import ProxiedSources, parse_networks
from konnectivity.net.socket_listeners import admit_tcp
from konnectivity.net.source_limit import SourceLimits
from konnectivity.runtime import logs
from konnectivity.runtime.logs.line_rate import LineRate
from konnectivity.testing.deployment import free_port
from konnectivity.tls import ClientTls, ServerTls
from support.small_pki import Pki

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 8091\r\n"
LINE6 = b"PROXY TCP6 2001:db8::7 fd00::1 56324 8091\r\n"
BLOCK = (
    SIGNATURE + b"\x21\x11\x00\x0f" + bytes((192, 0, 2, 7, 10, 0, 0, 1)) + struct.pack("!HH", 56324, 8091) + b"\4\0\0"
)
HELLO = b"\x16\x03\x01"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
STATED = {LINE: "192.0.2.7:56324", LINE6: "[2001:db8::7]:56324", BLOCK: "192.0.2.7:56324"}
TRUSTED = ("127.0.0.0/30",)  # 127.0.0.1 is a load balancer, 127.0.0.9 is not


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
def fresh_line_rate(monkeypatch):
    """Reset the line rate, so that lines of other tests about an address do not count."""
    monkeypatch.setattr(source_limit, "peer_log", logs.get_peer_log("door", LineRate()))


class Teller(asyncio.Protocol):
    """Protocol that answers each piece of data with the peer's address at the connection's start, and now."""

    def connection_made(self, transport):
        self.transport = transport
        self.first = peer_of(transport).address

    def data_received(self, data):
        self.transport.write(f"{self.first} {peer_of(self.transport).address}\n".encode())


class BufferedTeller(asyncio.BufferedProtocol):
    """Protocol like `Teller` that lends its memory to the event loop, as HTTP/2 does."""

    connection_made = Teller.connection_made

    def get_buffer(self, sizehint):
        self.memory = bytearray(1000)
        return self.memory

    def buffer_updated(self, count):
        Teller.data_received(self, b"")


class Site:
    """Listener with PROXY protocol headers, and its counts."""

    def __init__(self, listener, port, limits, context):
        self.listener, self.port, self.limits, self.context = listener, port, limits, context

    async def says(self, header, source="127.0.0.1", pieces=False):
        """Connect, send a header before TLS, and return the answer to a line."""
        return await asyncio.to_thread(self._says, header, source, pieces)

    def _says(self, header, source, pieces):
        with self.connected(source) as sock:
            for data in [header[at : at + 1] for at in range(len(header))] if pieces else [header]:
                sock.sendall(data)
            if self.context is None:
                sock.sendall(b"hello")
                return sock.recv(1000).decode().split()
            return self.over_tls(sock)

    def over_tls(self, sock):
        with self.context.wrap_socket(sock, server_hostname="proxy.test") as session:
            session.sendall(b"hello")
            return session.recv(1000).decode().split()

    async def ends(self, data, source="127.0.0.1"):
        """Connect, send bytes, and wait until the listener has ended the connection."""
        await asyncio.to_thread(self._ends, data, source)

    def _ends(self, data, source):
        with self.connected(source) as sock:
            sock.sendall(data)
            try:
                while sock.recv(1000):
                    pass
            except ConnectionResetError:  # closed with unread bytes
                pass

    async def until_failed(self, **reasons):
        """Wait until handshakes have failed for these reasons, this number of times, and no other."""
        expected = {("tests", reason): count for reason, count in reasons.items()}
        async with asyncio.timeout(10):
            while self.limits.handshake_failures != expected:
                await asyncio.sleep(0.01)

    def connected(self, source="127.0.0.1"):
        sock = socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@asynccontextmanager
async def site(pki, required=False, tls=True, protocol=Teller, per_source=0, timeout_s=10.0, max_awaited=1000):
    port, reached = free_port(), Counter()
    server = ServerTls(*pki.server_files, pki.ca, ("h2",)).context if tls else None
    async with asyncio.TaskGroup() as tasks:
        proxied = ProxiedSources(parse_networks(TRUSTED), required, timeout_s, reached, max_awaited)
        limits = SourceLimits(tasks, per_source, timeout_s, reached=reached, proxied=proxied)
        listener = await admit_tcp("tests", "127.0.0.1", port, server, protocol, limits)
        client = ClientTls(pki.ca, *pki.client_files, ("h2",)).context() if tls else None
        try:
            yield Site(listener, port, limits, client)
            async with asyncio.timeout(5):
                while listener.open:
                    await asyncio.sleep(0.01)
        finally:
            listener.close()


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "cleartext"])
@pytest.mark.parametrize("protocol", [Teller, BufferedTeller])
def test_the_stated_client_is_the_peer_for_the_whole_connection(pki, run, tls, protocol):
    async def main():
        async with site(pki, required=True, tls=tls, protocol=protocol) as door:
            for header, name in STATED.items():
                for pieces in (False, True):
                    assert await door.says(header, pieces=pieces) == [name, name]
            (own, _) = await door.says(LOCAL)
            assert own.startswith("127.0.0.1:")
            assert not door.limits.handshake_failures

    run(main)


def test_a_header_is_optional_and_only_of_the_trusted(pki, run, caplog):
    async def main():
        async with site(pki) as door:
            assert (await door.says(b""))[0].startswith("127.0.0.1:")
            assert (await door.says(b"", "127.0.0.9"))[0].startswith("127.0.0.9:")
            assert await door.says(LINE) == [STATED[LINE]] * 2
            await door.ends(LINE, "127.0.0.9")
            await door.until_failed(not_tls=1)

    run(main)
    (line,) = [record for record in caplog.records if record.getMessage() == "TLS handshake failed"]
    assert line.fields["peer"] == "127.0.0.9"


def test_a_header_is_required(pki, run, caplog):
    async def main():
        async with site(pki, required=True) as door:
            for header, source in ((b"", "127.0.0.1"), (b"", "127.0.0.9"), (LINE, "127.0.0.9")):
                await door.ends(header or HELLO, source)
            await door.until_failed(proxy_header_missing=3)

    run(main)
    lines = [record.fields for record in caplog.records if record.getMessage() == "PROXY protocol header refused"]
    assert [line["peer"] for line in lines] == ["127.0.0.1", "127.0.0.9", "127.0.0.9"]
    assert "enable the PROXY protocol at the load balancer" in lines[0]["reason"]
    assert "in no network of --proxy-protocol-trusted" in lines[1]["reason"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"PROXY TCP4 here there 1 2\r\n", "proxy_header_invalid"),
        (b"PRI * HTTP/2.0\r\n\r\n", "proxy_header_invalid"),
        (SIGNATURE + b"\x21\x11\xff\xff", "proxy_header_invalid"),
        (LINE + b"GET / HTTP/1.1\r\n\r\n", "not_tls"),
        (LINE + LINE, "not_tls"),
        (LINE + BLOCK, "not_tls"),
        (BLOCK + bytes(100), "not_tls"),
    ],
    ids=["no address", "HTTP/2", "64 KiB", "then HTTP", "twice", "both versions", "then zeroes"],
)
def test_garbage_ends_the_connection(pki, run, header, reason):
    async def main():
        async with site(pki) as door:
            await door.ends(header)
            await door.until_failed(**{reason: 1})
            assert await door.says(BLOCK) == [STATED[BLOCK]] * 2

    run(main)


def test_the_limit_counts_stated_clients_and_not_the_balancer(pki, run):
    def answer(sock):
        try:
            return sock.recv(100)
        except ConnectionResetError:  # closed with unread bytes
            return b""

    async def main():
        async with site(pki, tls=False, per_source=2) as door:
            clients = [door.connected() for _ in range(6)]
            try:
                for sock, number in zip(clients, (1, 1, 1, 2, 2, 3), strict=True):
                    sock.sendall(b"PROXY TCP4 192.0.2.%d 10.0.0.1 1 2\r\nhello" % number)
                answers = await asyncio.to_thread(lambda: [answer(sock) for sock in clients])
                assert [bool(each) for each in answers] == [True, True, False, True, True, True]
                assert door.listener.open == {"192.0.2.1": 2, "192.0.2.2": 2, "192.0.2.3": 1}
                assert door.limits.reached == {"connections_per_source": 1}
            finally:
                for sock in clients:
                    sock.close()

    run(main)


def test_headers_that_are_never_finished_end_with_the_oldest_first(pki, run):
    """Unfinished headers have a greatest number, an honest client beside them is served, and each has a deadline."""
    most, more = 20, 30

    async def main():
        async with site(pki, tls=False, timeout_s=1.5, max_awaited=most) as door:
            crowd = [door.connected() for _ in range(most + more)]
            for number, sock in enumerate(crowd):
                sock.sendall(LINE[: number % 40])
            assert await door.says(LINE) == [STATED[LINE]] * 2
            assert door.limits.reached["proxy_headers"] >= more
            assert await asyncio.to_thread(lambda: [sock.recv(1) for sock in crowd[:more]]) == [b""] * more
            await door.until_failed(timeout=len(crowd))
            for sock in crowd:
                sock.close()

    run(main)


def test_a_client_that_leaves_or_a_listener_that_closes_ends_the_wait(pki, run):
    async def main():
        async with site(pki) as door:
            for data in (b"", LINE[:20], SIGNATURE):
                with door.connected() as sock:
                    sock.sendall(data)
            await door.until_failed(closed=3)
            with door.connected() as sock:
                sock.sendall(LINE[:20])
                await asyncio.sleep(0.05)
                door.listener.close()
                assert await asyncio.to_thread(sock.recv, 1) == b""

    run(main)


def test_a_connection_opened_by_a_callback_of_another_has_its_own_address(pki, run):
    names = []

    class Caller(asyncio.Protocol):
        def connection_made(self, transport):
            names.append(peer_of(transport).address)

    class Opener(Teller):
        def data_received(self, data):
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(loop.create_connection(Caller, sock=self.other))
            self.task.add_done_callback(lambda _: self.called(data))

        def called(self, data):
            self.task.result()[0].close()
            super().data_received(data)

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = other.getsockname()
            with socket.create_connection(address) as Opener.other:
                async with site(pki, tls=False, protocol=Opener) as door:
                    assert (await door.says(LINE))[1] == STATED[LINE]
            assert names == [f"127.0.0.1:{address[1]}"]

    run(main)


@pytest.mark.parametrize(
    ("text", "why"),
    [("10.0.0.0/33", "is no network"), ("lb", "is no network"), ("", "is no network"), ("10.0.0.1/24", "10.0.0.0/24")],
)
def test_what_is_no_network(text, why):
    with pytest.raises(ValueError, match=why):
        parse_networks([text])

"""Tests of one client of `konnectivity forward` on real sockets: hostile bytes, slow clients, and how connections end.

The dial is direct here: no server and no agent stand between the proxy and the destination.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from contextlib import asynccontextmanager, suppress

import pytest

from konnectivity.client.byte_pump import BytePump
from konnectivity.errors import DialError, DialFailure
from konnectivity.forward.client_session import GUESSES, ClientSession, ProxyClient, SessionSettings
from konnectivity.forward.proxy_credentials import ProxyCredentials
from support.targets import listening

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT_S, LONG_S = 0.15, 20.0


class Destination:
    """HTTP destination that keeps what it receives and gives prepared answers, one for each head."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.received = [b""]
        self.answers = list(answers)
        self.close = close

    async def serve(self, reader, writer):
        if self.received[-1]:
            self.received.append(b"")
        while data := await reader.read(65536):
            self.received[-1] += data
            if b"\r\n\r\n" in data:
                writer.write(self.answers.pop(0) if self.answers else OK)
                await writer.drain()
                if self.close:
                    writer.close()
                    return


class DirectDialer:
    """Dialer of clients without a tunnel."""

    def __init__(self, tasks, fail=None):
        self.tasks = tasks
        self.fail = fail
        self.users = []

    async def connect(self, destination, client):
        self.users.append(client.user)
        if self.fail is not None:
            raise self.fail
        host, _, port = destination.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def join(self, destination, client, accepted, early):
        target = await self.connect(destination, client)
        client.writer.write(accepted)
        return BytePump((client.reader, client.writer), target, early).run()


@asynccontextmanager
async def proxy(head_s=LONG_S, idle_s=LONG_S, credentials=None, fail=None):
    """Run the proxy; yield its port and its settings."""
    async with asyncio.TaskGroup() as tasks:
        settings = SessionSettings(tasks, DirectDialer(tasks, fail), credentials, head_s, idle_s, 4096)
        sessions = set()

        async def serve(reader, writer):
            sessions.add(asyncio.current_task())
            await ClientSession(ProxyClient(reader, writer), settings).run()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1], settings
        finally:
            server.close()
            for session in sessions:
                session.cancel()
                with suppress(asyncio.CancelledError):
                    await session


async def talk(port, data, end=False):
    """Send bytes and return all that is received until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError):
        writer.write(data)
        if end:
            writer.write_eof()
    received = b""
    with suppress(OSError):
        async with asyncio.timeout(10):
            while piece := await reader.read(65536):
                received += piece
    writer.close()
    return received


def get(address, *fields, method="GET"):
    lines = [f"{method} http://{address}/ HTTP/1.1", f"Host: {address}", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


# ---- what a client may not do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x05\x01\x00\x05", b"G", b"GET http://a/ HTTP/1.1\r\nHos"])
async def test_a_client_that_is_slow_before_its_request_is_closed(data):
    async with proxy(head_s=SHORT_S) as (port, settings):
        answer = await talk(port, data)
        assert answer == b"" or answer.startswith((b"\x05\x00", b"HTTP/1.1 408 "))
        assert settings.reached["forward_head_time"] == 1


@pytest.mark.parametrize("data", [b"GET http://a/ HTTP/1.1\r\nX: " + b"y" * 40, b"\x05\xff" + bytes(200)])
async def test_a_head_that_trickles_in_has_one_deadline(data):
    async with proxy(head_s=0.3) as (port, settings):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(reader.read())
        for byte in data:
            if reading.done():
                break
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.05)
        assert reading.done()
        assert settings.reached["forward_head_time"] == 1
        with suppress(OSError):
            await reading
        writer.close()


async def test_a_malformed_request_after_a_good_one_gets_its_answer():
    destination = Destination()
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address) + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"ok" in answer
        assert b"HTTP/1.1 400 Bad Request" in answer


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\x16\x03\x01\x02\x00", b"\xff" * 9000]
)
async def test_a_first_byte_of_another_protocol(data):
    async with proxy() as (port, _):
        assert (await talk(port, data)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [b"GET http://a/" + b"x" * 10_000, b"GET http://a/ HTTP/1.1\r\n" + b"X: y\r\n" * 5_000, b"A" * 100_000],
)
async def test_a_head_without_end(data):
    async with proxy() as (port, settings):
        assert (await talk(port, data)).startswith(b"HTTP/1.1 431 ")
        assert settings.reached["forward_head"] == 1


SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"0\r\n\r\n" + SMUGGLED


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding:\tchunked\r\n folded",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length: 5", "Content-Length: 0"),
        ("Content-Length: 0x5",),
        ("Content-Length: -1",),
        ("X: y\nTransfer-Encoding: chunked",),
        ("X: y\rTransfer-Encoding: chunked",),
    ],
)
async def test_a_request_that_two_programs_read_differently_reaches_nobody(fields):
    destination = Destination()
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address, *fields, method="POST") + BODY)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert destination.received == [b""]


@pytest.mark.parametrize("size", [b"fffffffffffffffffffff", b"-5", b"5;\n", b"0x5", b"5 5", b""])
async def test_a_chunk_that_lies_ends_the_request(size):
    destination = Destination(b"")
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address, "Transfer-Encoding: chunked", method="POST") + size + b"\r\n" + SMUGGLED)
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert not any(b"/admin" in each for each in destination.received)


async def test_a_huge_chunk_is_framed_anew():
    destination = Destination(b"")
    data = b"ffffffffffffffff\r\n" + SMUGGLED
    async with listening(destination.serve) as address, proxy() as (port, _):
        assert (await talk(port, get(address, "Transfer-Encoding: chunked", method="POST") + data, end=True)) != OK
    assert b"%x\r\n" % len(SMUGGLED) + SMUGGLED in destination.received[0]  # as data of a chunk


async def test_upgrade_is_not_passed_on():
    destination = Destination()
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address, "Upgrade: websocket", "Connection: Upgrade, close"))
        assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"pgrade" not in destination.received[0]


async def test_nobody_gets_through_without_the_password(tmp_path):
    (tmp_path / "users").write_text("ann:secret\n")
    destination = Destination()
    async with (
        listening(destination.serve) as address,
        proxy(credentials=ProxyCredentials(str(tmp_path / "users"))) as (port, _),
    ):
        for value in (
            "",
            "Proxy-Authorization: Basic YW5uOndyb25n",
            "Proxy-Authorization: Basic !",
            "Authorization: x",
        ):
            answer = await talk(port, get(address, *([value] if value else [])))
            assert answer.startswith(b"HTTP/1.1 407 ")
        assert (await talk(port, b"\x05\x01\x00")) == b"\x05\xff"
        good = get(address, "Proxy-Authorization: basic YW5uOnNlY3JldA==", "Connection: close")
        assert (await talk(port, good)).endswith(b"ok")
    assert b"uthorization" not in destination.received[0]


# ---- what a client may do --------------------------------------------------------------------------------------------


async def test_passwords_cannot_be_guessed_without_end(tmp_path):
    """Ten wrong passwords of a user close the way for this user from this source, and for no other user."""
    (tmp_path / "users").write_text("ann:secret\nbob:other\n")
    now = [1000.0]
    credentials = ProxyCredentials(str(tmp_path / "users"), lambda: now[0])
    destination = Destination()
    async with listening(destination.serve) as address, proxy(credentials=credentials) as (port, settings):

        async def status(user, password):
            pair = b64encode(f"{user}:{password}".encode()).decode()
            answer = await talk(port, get(address, f"Proxy-Authorization: Basic {pair}", "Connection: close"))
            return int(answer[9:12])

        assert {await status("ann", f"wrong {number}") for number in range(10)} == {407}
        assert settings.reached[GUESSES] == 0
        assert await status("ann", "secret") == 407
        words = bytes((5, 1, 2, 1, 3)) + b"ann" + bytes((6,)) + b"secret"
        assert await talk(port, words) == bytes((5, 2, 1, 1))
        assert settings.reached[GUESSES] == 2
        assert await status("bob", "other") == 200
        now[0] += 7
        assert await status("ann", "secret") == 200
        assert settings.dialer.users == ["bob", "ann"]


async def test_pipelined_requests_are_answered_in_their_order():
    destination = Destination(OK.replace(b"ok", b"no"), OK.replace(b"ok", b"at"))
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address) * 2 + get(address, "Connection: close"))
        assert [answer[at - 2 : at] for at in (answer.find(b"no") + 2, answer.find(b"at") + 2, len(answer))] == [
            b"no",
            b"at",
            b"ok",
        ]
    assert len(destination.received) == 1


async def test_100_continue():
    destination = Destination(b"HTTP/1.1 100 Continue\r\n\r\n")

    async with listening(destination.serve) as address, proxy() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(address, "Expect: 100-continue", "Content-Length: 4", "Connection: close", method="PUT"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"\r\n\r\n")  # four bytes of a body, which the destination takes for the end
        assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_an_answer_before_the_whole_body():
    destination = Destination(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    async with listening(destination.serve) as address, proxy() as (port, _):
        answer = await talk(port, get(address, "Content-Length: 100000000", method="PUT") + b"x" * 1000)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in answer


async def test_a_destination_that_closed_in_between_costs_no_request():
    destination = Destination(close=True)
    async with listening(destination.serve) as address, proxy() as (port, settings):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(get(address))
            assert (await reader.readexactly(len(OK) + len(b"Via: 1.1 konnectivity\r\n"))).endswith(b"ok")
        writer.close()
        assert settings.dials["http", "ok"] == 3
    assert len(destination.received) == 3


async def test_an_end_of_data_is_passed_on_in_each_direction():
    async def count(reader, writer):
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async with listening(count) as address, proxy() as (port, _):
        connect = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        assert (await talk(port, connect + b"x" * 1_000_000, end=True)).endswith(b"\r\n\r\n1000000")
        target = int(address.rpartition(":")[2]).to_bytes(2)
        assert (await talk(port, b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + target + b"abc", end=True)).endswith(
            b"3"
        )


async def test_a_reset_is_passed_on():
    async def reset(reader, writer):
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with listening(reset) as address, proxy() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_cut_response_is_a_reset():
    destination = Destination(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", close=True)
    async with listening(destination.serve) as address, proxy() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(address))
        await reader.readuntil(b"abc")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_slow_reader_holds_up_its_own_download_only():
    async def send(reader, writer):
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent[0] += 100_000

    sent = [0]
    async with listening(send) as address, proxy() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()
        writer.write(get(address))
        before = -1
        while sent[0] != before or not before:
            before = sent[0]
            await asyncio.sleep(0.1)
        assert sent[0] < 30_000_000  # what kernels hold
        destination = Destination()
        async with listening(destination.serve) as other:
            assert (await talk(port, get(other, "Connection: close"))).endswith(b"ok")
        writer.transport.abort()
        assert reader is not None


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DialError(DialFailure.TIMEOUT, "timed out"), b"504", 4),
        (DialError(DialFailure.NO_AGENT, "No agent available"), b"502", 3),
        (DialError(DialFailure.ENDPOINT, "refused by the agent's policy"), b"403", 2),
    ],
)
async def test_a_failed_dial(error, status, code):
    async with proxy(fail=error) as (port, settings):
        for request in (get("a"), b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"):
            answer = await talk(port, request)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert answer.endswith(str(error).encode() + b"\n")
        assert (await talk(port, b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50"))[2:4] == bytes((5, code))
        assert sum(settings.dials.values()) == 3


async def test_a_destination_that_sends_nothing():
    async def nothing(reader, writer):
        await reader.read()

    async with listening(nothing) as address, proxy(idle_s=SHORT_S) as (port, _):
        assert (await talk(port, get(address))).startswith(b"HTTP/1.1 504 ")


async def test_a_client_that_leaves_ends_the_request_at_the_destination():
    ended = asyncio.Event()

    async def wait(reader, writer):
        await reader.read(1)
        with suppress(OSError):
            while await reader.read(65536):
                pass
        ended.set()

    async with listening(wait) as address, proxy() as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(address))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_drain_closes_clients_between_two_requests():
    destination = Destination()
    async with listening(destination.serve) as address, proxy() as (port, settings):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(address))
        await reader.readuntil(b"ok")
        while writer.is_closing() or not settings.idle:
            await asyncio.sleep(0.01)
        settings.drain()
        assert await reader.read() == b""
        assert (await talk(port, get(address))).endswith(b"ok")  # and ends, although the client would stay
        writer.close()

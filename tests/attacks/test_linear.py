"""Tests of the CPU time of each reader and writer of peer data: near-linear from 16 KiB to 1 MiB, bounded per byte.

A reader with a limit of its own refuses the large input, which is cheaper still. The measure is this thread's CPU time,
the least of several runs, so that other work of the machine does not count.
"""

from __future__ import annotations

import base64
import gc
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from konnectivity import wire
from konnectivity.grpc import metadata, status
from konnectivity.grpc.framing import PREFIX, MessageReader
from konnectivity.grpc.metadata import Metadata
from konnectivity.http1.forward_proxy import Proxy, ProxyAnswer
from konnectivity.http1.message_heads import HeadError, Heads
from konnectivity.http2 import Http2Connection, Limits, Settings, frames, header_rules
from konnectivity.http2.frames import ConnectionFault
from konnectivity.http2.header_decoder import HeaderDecoder
from konnectivity.kube import labels
from konnectivity.net import addresses
from konnectivity.net.proxy_header import ProxyHeader
from konnectivity.runtime.logs import log_formats
from konnectivity.tls.client_hello import BadClientHello, HelloReader
from konnectivity.tunnel.extension import Extension
from konnectivity.untrusted import numbers, untrusted_text
from konnectivity_server import registry
from konnectivity_server.agents import agent_identifiers
from konnectivity_server.agents.token_claims import claims_of
from konnectivity_server.agents.token_rules import token_of
from konnectivity_server.frontends import connect_messages

SMALL, LARGE = 16 * 1024, 1024 * 1024
MOST_GROWTH = 4.0  # maximum growth of the time per byte from SMALL to LARGE
MOST_S_PER_BYTE = 12e-6
GRACE_S = 2e-3  # shorter times are too noisy to show growth
RUNS = 3

Reader = Callable[[bytes], object]


def text_reader(read: Callable[[str], object]) -> Reader:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def in_pieces(size: int, read: Callable[[bytes], object], data: bytes) -> None:
    for at in range(0, len(data), size):
        read(data[at : at + size])


def http2(client: bool) -> Reader:
    """Return a reader of frames after a greeting, with limits that are never reached."""
    unlimited = Limits(
        header_list_bytes=1 << 30,
        header_block_bytes=1 << 30,
        header_fields=1 << 30,
        continuation_frames=1 << 30,
        cheap_frames_burst=1 << 30,
        unsent_replies=1 << 30,
        new_streams_burst=1 << 30,
    )

    def read(data: bytes) -> None:
        connection = Http2Connection(client, Settings(max_frame_size=1 << 20), limits=unlimited)
        connection.receive(b"" if client else frames.PREFACE)
        connection.receive(frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0))
        if client:
            connection.open_stream([(":method", "POST"), (":scheme", "http"), (":path", "/")])
        for at in range(0, len(data), 65_536):
            connection.receive(data[at : at + 65_536])
            while connection.unread:
                connection.receive(b"")
            connection.take()
        assert not connection.failed

    return read


def framing(size: int) -> Reader:
    def read(data: bytes) -> None:
        reader = MessageReader(1 << 30)
        in_pieces(size, lambda piece: reader.feed(memoryview(piece)), data)

    return read


def hpack(block: bytes) -> None:
    with suppress(Exception):
        HeaderDecoder(1 << 30, 1 << 30).decode(block)


def packet(message: bytes) -> None:
    with suppress(wire.PacketError):
        if wire.decode_data(memoryview(message)) is None:
            known = wire.decode(message)
            if known is not None:
                wire.describe(known)


def heads(size: int) -> Reader:
    def read(data: bytes) -> None:
        received = Heads(2 * LARGE, most_lines=1 << 30)

        def feed(piece: bytes) -> None:
            received.feed(piece)
            while (head := received.take()) is not None:
                with suppress(connect_messages.BadRequest):
                    connect_messages.destination(head)

        with suppress(HeadError):
            in_pieces(size, feed, data)

    return read


def proxy_answer(data: bytes) -> None:
    answer = ProxyAnswer(Proxy("proxy", 3128))
    in_pieces(4096, answer.receive, data)


def client_hello(data: bytes) -> None:
    hello = HelloReader()
    hello.feed(b"\x16\x03\x01\x00\x04\x01\x00\x40\x00")  # announces 16 KiB
    with suppress(BadClientHello):
        in_pieces(1, hello.feed, data)


def proxy_header(data: bytes) -> None:
    header = ProxyHeader()
    header.feed(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x08\x00")  # announces 2 KiB
    in_pieces(1, header.feed, data)


def header_rule(fields: Callable[[str], list[tuple[str, str]]]) -> Reader:
    usual = [(":method", "POST"), (":scheme", "http"), (":path", "/p")]

    def read(data: bytes) -> None:
        with suppress(ValueError):
            header_rules.check_request(usual + fields(data.decode("latin-1")))

    return read


def encoder(data: bytes) -> None:
    connection = Http2Connection(True, Settings(enable_push=0))
    connection.open_stream([("grpc-message", data.decode("latin-1")), *((name, name) for name in ("a", "b") * 50)])


def field(name: str) -> Reader:
    """Return a reader of one metadata field's value."""
    readers: dict[str, Callable[[Metadata], object]] = {"authorization": token_of, "extension": Extension.of}
    full = {"extension": "konnectivity-extension"}.get(name, name)
    return text_reader(lambda text: readers[name](Metadata([(full, text)])))


def refused(read: Callable[[str], object]) -> Reader:
    def tried(text: str) -> None:
        with suppress(ValueError):
            read(text)

    return text_reader(tried)


def claims(data: bytes) -> None:
    claims_of(f"a.{base64.urlsafe_b64encode(data).decode()}.c")


CONNECT = b"CONNECT a:1 HTTP/1.1\r\n"
HEADERS = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x83\x86\x44\x02/p")
LITERAL = b"\x40\x01a\x01b"
EMOJI = "\U0001f600".encode()
TEXTS = [b"a", b" ", b"%", b"%41", b"\xff", EMOJI, b"a ", b"\x00", b",", b":", b".", b"-", b"[", b"=", b";", b"&", b"9"]
CASES: dict[str, tuple[Reader, list[bytes]]] = {
    "HTTP/2 server": (
        http2(client=False),
        [
            HEADERS + frames.frame(frames.DATA, 0, 1, b"x"),
            frames.frame(frames.PING, 0, 0, bytes(8)),
            frames.frame(frames.PRIORITY, 0, 1, bytes(3) + b"\x07\x00"),
            frames.frame(0x77, 0, 0, b"x" * 100),
            frames.settings({0x99: 1}),
            frames.settings(dict.fromkeys(range(0x99, 0x999), 1)),
            frames.window_update(0, 1),
        ],
    ),
    "HTTP/2 client": (http2(client=True), [frames.goaway(1, 0, b"x" * 100), frames.goaway(1, 0)]),
    "HPACK": (
        hpack,
        [b"\x82", LITERAL, LITERAL + b"\xbe", b"\x00\x01a\x81\x1f", b"\x00\x01a\x7f\x81\x07" + b"x" * 1024, b"\x20"],
    ),
    "HPACK encoder": (encoder, [b"a", b"\xf0", b"\x7f"]),
    "gRPC messages": (framing(65_536), [PREFIX.pack(0, 1) + b"x", PREFIX.pack(0, 100) + bytes(100)]),
    "gRPC messages in small pieces": (framing(7), [PREFIX.pack(0, 1) + b"x", PREFIX.pack(0, 1 << 29), bytes(5)]),
    "packets": (
        packet,
        [
            b"\x08\x04\x22\x00",
            b"\x0a\x00",
            b"\x12\x02\x0a\x00",
            b"\x0b",
            b"\xff",
            b"\x08\x01",
            b"\x1a\x04\x12\x02" + EMOJI[:2],
        ],
    ),
    "a head of HTTP/1": (
        heads(65_536),
        [CONNECT + b"\r\n", b"GET / HTTP/1.1\n\n", b"\r\n", b"a", b" ", CONNECT, CONNECT + b"a: b\r\n\r\n"],
    ),
    "a head of HTTP/1 in small pieces": (heads(16), [b"CONNECT a:1 HTTP/1.1\nhost: a\n", b"a: b\r\n"]),
    "header rules, one value": (header_rule(lambda text: [("a", text)]), TEXTS),
    "header rules, one name": (header_rule(lambda text: [(text, "a")]), TEXTS),
    "header rules, many fields": (
        header_rule(lambda text: [("content-length", text[at : at + 16]) for at in range(0, len(text), 16)]),
        [b"1", b"0000000000000001"],
    ),
    "status messages to send": (text_reader(status.encode_message), TEXTS),
    "status messages received": (text_reader(status.decode_message), TEXTS),
    "grpc-timeout": (text_reader(metadata.parse_timeout), [b"9", b"9m"]),
    "the extension": (field("extension"), [*TEXTS, b"; window=1", b"1;"]),
    "tokens": (field("authorization"), [*TEXTS, b"Bearer ", b"Bearer a.b.c"]),
    "claims of tokens": (claims, [b"[", b'{"a":', b"9", b'"', b"\\", b'{"exp":9}', b"[1,", b" ", EMOJI]),
    "identifiers": (
        refused(agent_identifiers.parse),
        [*TEXTS, b"ipv4=1&", b"host=a%41+&", b"a=b&", b"default-route=true&"],
    ),
    "canonical hosts": (text_reader(registry.canonical), [*TEXTS, b"1.", b"::1%", b"0:"]),
    "hosts of addresses": (text_reader(addresses.host_of), [*TEXTS, b"a:1", b"[::1]:"]),
    "destinations": (refused(lambda text: addresses.parse("tcp", text)), [*TEXTS, b"a.", b"[::1]:", b"xn--a."]),
    "lists of hosts": (refused(lambda text: addresses.parse_hosts(text.split(","), 1)), [*TEXTS, b"a:1,", b"a,"]),
    "numbers": (text_reader(lambda text: numbers.parse_decimal(text, 1 << 30)), [b"9", b"0", b"-", b" "]),
    "labels": (refused(labels.parse_labels), [*TEXTS, b"a=b,", b"a.b/c=d,"]),
    "label selectors": (refused(labels.parse_selector), [*TEXTS, b"a=b,", b"a in (b),", b"a in (b,", b"!a,"]),
    "texts for people, quoted": (text_reader(untrusted_text.quoted), TEXTS),
    "texts for people": (text_reader(untrusted_text.visible), TEXTS),
    "values in logs": (text_reader(lambda text: log_formats._value("reason", text)), TEXTS),
    "ClientHellos in small pieces": (
        client_hello,
        [b"\x16\x03\x01\x00\x01\x00", b"\x16\x03\x01\x0f\xfb" + bytes(4091)],
    ),
    "PROXY protocol headers in small pieces": (proxy_header, [b"\0"]),
    "a proxy's answer": (proxy_answer, [b"HTTP/1.1 200 OK\r\n", b"a", b"a: b\r\n", b"\n", b"\r"]),
}


def cpu_s(read: Reader, data: bytes) -> float:
    """Return the least CPU time of several runs, in seconds; of one run, if that takes long."""
    times: list[float] = []
    for _ in range(RUNS):
        began = time.thread_time()
        with suppress(ConnectionError, ConnectionFault):
            read(data)
        times.append(time.thread_time() - began)
        if sum(times) > 0.3:
            break
    return min(times)


def of_size(pattern: bytes, size: int) -> bytes:
    return pattern * (size // len(pattern))


@pytest.mark.parametrize("name", CASES)
def test_time_grows_with_the_size_and_no_more(name: str) -> None:
    read, patterns = CASES[name]
    found = []
    gc.disable()
    try:
        for pattern in patterns:
            small, large = (cpu_s(read, of_size(pattern, size)) for size in (SMALL, LARGE))
            growth = (large / LARGE) / (small / SMALL)
            if large > LARGE * MOST_S_PER_BYTE or (large > GRACE_S * LARGE / SMALL / 8 and growth > MOST_GROWTH):
                found.append(f"{pattern[:40]!r}: {small * 1e3:.1f} ms for 16 KiB, {large * 1e3:.1f} ms for 1 MiB")
    finally:
        gc.enable()
    assert not found, found

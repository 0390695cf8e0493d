"""Fuzz targets: one function per reader of outside bytes, which checks the guarantees of the reader.

A target returns if the guarantees hold and raises if they do not: an undeclared exception, more work or memory per byte
than stated, or a result that depends on how the bytes were cut. `TARGETS` names the targets; the seeds of each are in
corpus/<name>/.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl

import fuzz_beginnings
import fuzz_forward
import fuzz_peers
from google.protobuf.message import DecodeError

from konnectivity import wire
from konnectivity.grpc import metadata, status
from konnectivity.grpc.framing import MessageReader
from konnectivity.grpc.status import Code
from konnectivity.http2 import Http2Connection, Limits, Settings, events, frames
from konnectivity.http2.abuse_limits import PeerCosts
from konnectivity.http2.frames import ConnectionFault
from konnectivity.http2.header_blocks import HeaderBlocks
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.kubeconfig_files import current_access
from konnectivity.net import addresses
from konnectivity.proto.client_pb2 import Packet
from konnectivity.runtime.options import UsageError, parse
from konnectivity.runtime.options.command_line import HelpRequested
from konnectivity.tunnel.extension import Extension
from konnectivity.wire.packet_reader import MAX_FIELDS
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.agents import agent_identifiers as identifiers
from konnectivity_server.server_options import ServerOptions
from support.generated_packets import expected_fields, fields_of, may_be_refused

CORPUS = Path(__file__).parent / "corpus"
CUTS = (1, 2, 7, 100)
LIMITS = Limits(header_block_bytes=2000, header_list_bytes=1000, continuation_frames=4, cheap_frames_burst=400)
REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
GREETING = frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0)
MAX_MESSAGE = 1000
MOST_COMPARED = 4000  # bytes of HTTP/2 up to which different cuts are compared


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ---- HTTP/2 --------------------------------------------------------------------------------------------------------


def http2_server(data: bytes) -> None:
    """Feed frames of a client, after a greeting, to a server."""
    _http2(False, frames.PREFACE + GREETING + data)


def http2_client(data: bytes) -> None:
    """Feed frames of a server, after a greeting, to a client with three open requests."""
    _http2(True, GREETING + data)


def http2_preface(data: bytes) -> None:
    """Feed the first bytes of a client to a server."""
    _http2(False, data)


def _http2(client: bool, data: bytes) -> None:
    if len(data) > MOST_COMPARED:  # flood limits depend on the cuts, since answers are taken after each
        _frames_in(client, data, 100)
        return
    whole = _frames_in(client, data, len(data) or 1)
    for size in CUTS:
        assert _frames_in(client, data, size) == whole, f"another result in pieces of {size}"


def _frames_in(client: bool, data: bytes, size: int) -> list[object]:
    connection = Http2Connection(
        client, Settings(enable_push=0 if client else 1, max_concurrent_streams=5), 70_000, LIMITS
    )
    if client:
        for _ in range(3):
            connection.open_stream(REQUEST)
    happened: list[events.Event] = []
    answers = 0
    connection.take()
    for piece in pieces(data, size):
        happened += connection.receive(piece)
        while connection.unread:
            happened += connection.receive(b"")
        answers += sum(map(len, connection.take()))
        assert len(connection.streams) <= 5
    assert len(happened) <= len(data) + 10
    assert answers <= 4 * len(data) + 500, "more answers than what was said is worth"
    return _joined(happened)


def _joined(happened: list[events.Event]) -> list[object]:
    """Return the events with adjacent DATA joined, so that different cuts can be compared."""
    joined: list[object] = []
    for event in happened:
        if not isinstance(event, events.DataReceived):
            joined.append(event)
            continue
        last = joined[-1] if joined else None
        if isinstance(last, tuple) and last[0] == event.stream_id and not last[3]:
            joined[-1] = (event.stream_id, last[1] + bytes(event.data), last[2] + event.credit, event.end_stream)
        else:
            joined.append((event.stream_id, bytes(event.data), event.credit, event.end_stream))
    return joined


def hpack(data: bytes) -> None:
    """Feed header blocks to one decompressor: a byte for the length, then a block of that length, in two fragments."""
    blocks = HeaderBlocks(LIMITS, PeerCosts(LIMITS, lambda: 0.0))
    while data:
        size, data = data[0], data[1:]
        block, data = data[:size], data[size:]
        try:
            blocks.begin(1, False, block[: size // 2])
            blocks.extend(1, block[size // 2 :])
            headers, _ = blocks.finish()
        except ConnectionFault:
            return
        assert sum(len(name.encode("utf-8", "surrogateescape")) + 32 for name, _ in headers) <= LIMITS.header_list_bytes


# ---- gRPC and packets ----------------------------------------------------------------------------------------------


def framing(data: bytes) -> None:
    """Feed gRPC messages in a stream."""
    whole = _messages_in(data, len(data) or 1)
    for size in CUTS:
        assert _messages_in(data, size) == whole, f"other messages in pieces of {size}"


def _messages_in(data: bytes, size: int) -> tuple[list[bytes], Code | None]:
    reader = MessageReader(MAX_MESSAGE)
    messages: list[bytes] = []
    for piece in pieces(data, size):
        messages += map(bytes, reader.feed(memoryview(piece)))
        assert reader.held <= MAX_MESSAGE + 5
        if reader.fault is not None:
            assert reader.fault.status.code in (Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED)
            return messages, reader.fault.status.code
    return messages, None


def packets(data: bytes) -> None:
    """Decode one packet with our decoders and with protobuf's, and compare the results."""
    try:
        expected = Packet.FromString(data)
    except DecodeError:
        expected = None
    known = wire.decode_data(memoryview(data))
    if known is not None:
        assert expected is not None, "the hand decoder knows what is no packet"
        assert (expected.data.connectID, expected.data.data, expected.data.error) == (known[0], bytes(known[1]), "")
    try:
        packet = wire.decode(data)
    except wire.PacketError as error:
        assert len(str(error)) < 200
        assert len(data) > MAX_FIELDS or may_be_refused(data, error), "the decoder refuses a valid packet"
        return
    assert expected is not None, "the decoder accepts a message that protobuf refuses"
    assert (fields_of(packet) if packet is not None else None) == expected_fields(data)
    if packet is not None:
        assert len(wire.describe(packet)) <= 10 * len(data) + 200


def tunnel(data: bytes) -> None:
    """Feed packets of a peer, framed as gRPC messages, to each end of a tunnel in each dialect."""
    messages = MessageReader(1 << 20).feed(memoryview(data))
    fuzz_peers.run(fuzz_peers.tunnels, list(messages))


def connect(data: bytes) -> None:
    """Feed the bytes of a client to the HTTP CONNECT frontend, from the first byte on."""
    whole = fuzz_peers.run(fuzz_peers.connect, data, len(data) or 1)
    for size in CUTS:
        assert fuzz_peers.run(fuzz_peers.connect, data, size) == whole, f"another answer in pieces of {size}"


# ---- texts ---------------------------------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """Parse values of gRPC and extension headers, and addresses."""
    text = data.decode("utf-8", "replace")
    parsed = metadata.parse_timeout(text)
    assert parsed is None or parsed >= 0
    Extension.of(metadata.Metadata([("konnectivity-extension", text)]))
    status.from_trailers([("grpc-status", text[:2]), ("grpc-message", text)])
    message = status.decode_message(status.encode_message(text))
    assert len(message.encode()) <= status.MAX_MESSAGE
    assert message == text or (len(text) > 85 and message.endswith("..."))
    assert len(addresses.host_of(text)) <= len(text)
    for read in (addresses.split, lambda one: addresses.parse_hosts(one.split(","), 1)):
        try:
            read(text)
        except ValueError as error:
            assert len(str(error)) <= 8 * len(text) + 100


def agent_identifiers(data: bytes) -> None:
    """Parse agent identifiers with our parser and with the standard library's, and compare the results."""
    text = data.decode("utf-8", "replace")
    try:
        found = identifiers.parse(text)
    except ValueError as error:
        assert len(str(error)) < 200
        return
    expected: dict[str, list[str]] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        expected.setdefault(key, []).append(value)
    for key in ("ipv4", "ipv6", "host", "cidr"):
        assert list(getattr(found, key)) == expected.get(key, [])


def flags(data: bytes) -> None:
    """Parse a command line, one argument per line, for both programs."""
    arguments = data.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    _usable(arguments)


def config_file(data: bytes) -> None:
    """Parse a file of --config for both programs."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "config.yaml")
        path.write_bytes(data)
        _usable([f"--config={path}"])


def _usable(arguments: list[str]) -> None:
    for options in (ServerOptions, AgentOptions):
        try:
            parse(options, arguments, {}, "fuzzed")
        except UsageError as error:
            assert error.problems
        except HelpRequested:
            return


def kube_config(data: bytes) -> None:
    """Parse a kubeconfig file."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "kubeconfig")
        path.write_bytes(data)
        try:
            current_access([str(path)])
        except KubeError as error:
            assert "\n" not in str(error)


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {
    each.__name__: each
    for each in (
        http2_server,
        http2_client,
        http2_preface,
        hpack,
        framing,
        packets,
        tunnel,
        connect,
        headers,
        agent_identifiers,
        flags,
        config_file,
        kube_config,
        fuzz_forward.socks5,
        fuzz_forward.proxy_request,
        fuzz_forward.proxied_response,
        fuzz_forward.dns_query,
        fuzz_forward.dns_answer,
        fuzz_forward.frontend_policy,
        fuzz_beginnings.proxy_header,
        fuzz_beginnings.client_hello,
    )
}


CPU_S_PER_INPUT = 0.1  # allowed for an input of any size
CPU_S_PER_BYTE = dict.fromkeys(TARGETS, 100e-6) | {
    "kube_config": 2e-3,
    "frontend_policy": 2e-3,
}  # for all cuts together; YAML is slow


def seeds(name: str) -> list[bytes]:
    """Return the corpus of a target, in the order of its file names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]

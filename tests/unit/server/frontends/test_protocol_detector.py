"""Protocol detector: the first bytes of a connection tell gRPC from HTTP CONNECT."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.http2.frames import PREFACE
from konnectivity_server.frontends.protocol_detector import ProtocolDetector
from support.memory_server import advance, in_still_time
from support.memory_transport import MemoryTransport


class Taken(asyncio.Protocol):
    """Protocol that records its data."""

    def __init__(self, first: bytes = b"") -> None:
        self.data = first
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data


class Both:
    """Detector, and the protocols to which it may pass a connection."""

    def __init__(self) -> None:
        self.grpc: Taken | None = None
        self.connect: Taken | None = None
        loop = asyncio.get_running_loop()
        detector = ProtocolDetector(self._made_grpc, self._made_connect, 5.0, loop)  # type: ignore[arg-type]
        self.client = MemoryTransport(detector)

    def _made_grpc(self) -> Taken:
        self.grpc = Taken()
        return self.grpc

    def _made_connect(self, first: bytes) -> Taken:
        self.connect = Taken(first)
        return self.connect


@pytest.mark.parametrize("size", [1, 2, 3, 4, len(PREFACE)])
@in_still_time
async def test_a_preface_of_http2_is_grpc_in_whatever_pieces_it_arrives(size):
    both = Both()
    for at in range(0, len(PREFACE), size):
        both.client.says(PREFACE[at : at + size])
    assert both.connect is None
    assert both.grpc is not None
    assert both.grpc.data == PREFACE
    assert both.grpc.transport is both.client


@pytest.mark.parametrize("pieces", [[b"CONNECT a:1 HTTP/1.1\r\n"], [b"P", b"OST / HTTP/1.1\r\n"], [b"PR", b"OPFIND /"]])
@in_still_time
async def test_anything_else_is_http_1(pieces):
    both = Both()
    for piece in pieces:
        both.client.says(piece)
    assert both.grpc is None
    assert both.connect is not None
    assert both.connect.data == b"".join(pieces)


@in_still_time
async def test_a_client_that_says_nothing_is_closed_in_time():
    both = Both()
    await advance(4.9)
    assert not both.client.closed
    await advance(0.2)
    assert both.client.closed


@in_still_time
async def test_after_the_first_bytes_there_is_no_limit_of_time_here():
    both = Both()
    both.client.says(b"CONN")
    await advance(60.0)
    assert not both.client.closed


@in_still_time
async def test_a_client_that_leaves_before_is_forgotten():
    both = Both()
    both.client.says(b"PR")
    both.client.vanishes()
    await advance(60.0)
    assert (both.grpc, both.connect) == (None, None)

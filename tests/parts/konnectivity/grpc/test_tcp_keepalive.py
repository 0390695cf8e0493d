"""A connection between two machines has TCP keepalive at both ends: its loss is noticed although neither end sends."""

from __future__ import annotations

import socket

import pytest

from konnectivity.grpc import http2_client
from konnectivity.grpc.http2_server import Http2ServerTransport
from konnectivity.grpc.transport import Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.socket_listeners import listen_tcp


@pytest.mark.parametrize("end", ["client", "server"])
async def test_the_kernel_probes_a_silent_connection_after_15_seconds_as_in_go(end):
    ends = {}

    def accepted():
        ends["server"] = Http2ServerTransport(TransportOptions(), {})
        return ends["server"]

    listener = await listen_tcp("test", "127.0.0.1", 0, None, accepted)
    address = listener.sockets[0].getsockname()
    client = ends["client"] = await http2_client.connect(Destination(address[:2]), None, TransportOptions())
    try:
        sock = ends[end]._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
    finally:
        client.abort()
        listener.close()

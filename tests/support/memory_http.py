"""HTTP/1.1 client connections whose other side is a list of answers in memory."""

from __future__ import annotations

import asyncio

from konnectivity.kube.http_connection import HttpConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kind: a\r\n\r\nhi"
HEADERS = [("Host", "api")]


class Wire(asyncio.Transport):
    """Transport that records written bytes and answers each request with the next of `answers`.

    Attributes:
        ends: a request is not answered, but the connection ends.

    """

    def __init__(self, reader: asyncio.StreamReader, *answers: bytes) -> None:
        super().__init__()
        self.reader = reader
        self.answers = list(answers)
        self.written = b""
        self.closed = self.aborted = self.ends = False
        self.connection: HttpConnection | None = None  # lives as long as the transport

    def write(self, data: bytes) -> None:
        self.written += data
        if self.ends:
            self.reader.feed_eof()
        elif self.answers:
            self.reader.feed_data(self.answers.pop(0))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = self.aborted = True


def connection(*answers: bytes) -> tuple[HttpConnection, Wire]:
    """Return a connection whose other side gives these answers, and the transport."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    wire = Wire(reader, *answers)
    wire.connection = HttpConnection(reader, asyncio.StreamWriter(wire, protocol, reader, loop))
    return wire.connection, wire

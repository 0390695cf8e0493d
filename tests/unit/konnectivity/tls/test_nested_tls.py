"""TLS of a client over streams, with a server in memory."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from konnectivity.tls.contexts import client_context, server_context
from konnectivity.tls.nested_tls import InnerTls


class Server:
    """Server side of a session in memory, in the place of the writer; answers go to the reader."""

    def __init__(self, context, reader):
        self.reader = reader
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.done = False

    def write(self, data):
        self.incoming.write(data)

    async def drain(self):
        if not self.done:
            try:
                self.session.do_handshake()
                self.done = True
            except ssl.SSLError:  # more is to come, or there is an alert
                pass
        self.flush()

    def flush(self):
        if data := self.outgoing.read():
            self.reader.feed_data(data)


def ends_for(pki, name):
    """Return both ends of a session in which the client expects a server of this name."""
    reader = asyncio.StreamReader()
    end = Server(server_context(*pki.server_files, pki.ca, ("h2",)), reader)
    return end, InnerTls(reader, end, client_context(pki.ca, *pki.client_files, ("h2",)), name)


@pytest.fixture
async def ends(pki):
    return ends_for(pki, "proxy.test")


async def test_bytes_pass_both_ways_until_the_end_that_was_announced(ends):
    end, inner = ends
    await inner.handshake()
    await inner.write(b"question")
    assert end.session.read(100) == b"question"
    end.session.write(b"answer")
    end.flush()
    assert await inner.read() == b"answer"
    with pytest.raises(ssl.SSLWantReadError):
        end.session.unwrap()
    end.flush()
    assert await inner.read() == b""


async def test_an_end_that_was_not_announced_is_an_error(ends):
    end, inner = ends
    await inner.handshake()
    end.reader.feed_eof()
    with pytest.raises(ssl.SSLEOFError):
        await inner.read()


async def test_a_certificate_for_another_name_is_an_error(pki):
    _, inner = ends_for(pki, "other.test")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await inner.handshake()

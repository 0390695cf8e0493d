"""Listener of several TLS server names: each name has its own authorities, and any other gets the right alert."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest

from konnectivity.net.socket_listeners import admit_tcp
from konnectivity.net.source_limit import SourceLimits
from konnectivity.testing.deployment import free_port
from konnectivity.tls import ServerTls, client_context
from konnectivity.tls.named_context import NamedContext
from konnectivity.tool.pki.authority import Authority

ALERT = bytes((21, 3, 3, 0, 2, 2))  # record with a fatal alert
UNRECOGNIZED_NAME, DECODE_ERROR, UNKNOWN_CA = 112, 50, 48


class End:
    """End of one name."""

    def __init__(self, name, files):
        self.name, self.tls = name, ServerTls(*files, ["h2"])

    def context(self):
        return self.tls.newest()


class Namer(asyncio.Protocol):
    """Protocol that sends the name of the client's end."""

    def connection_made(self, transport):
        transport.write(transport.get_extra_info("ssl_object").end.name.encode())
        transport.close()


class Names:
    """Two names with authorities of their own, in files; the ends of a listener."""

    def __init__(self, directory):
        self.directory = directory
        servers = Authority.create("servers")
        self.ca = str(servers.write(directory))
        certificate = servers.issue("server", dns=["*.tenants.test"], server=True).write(directory, "server")
        self.authorities = {name: Authority.create(f"CA of {name}") for name in ("a.tenants.test", "b.tenants.test")}
        for name, authority in self.authorities.items():
            (directory / f"{name}.pem").write_bytes(authority.certificate_pem)
            authority.issue(f"client of {name}", client=True).write(directory, name)
        self.ends = {
            name: End(name, (*map(str, certificate), str(directory / f"{name}.pem"))) for name in self.authorities
        }

    def client(self, name):
        """Return the context of a client with the credential of a name."""
        files = (str(self.directory / f"{name}.crt"), str(self.directory / f"{name}.key"))
        return client_context(self.ca, *files, ["h2"])


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return Names(tmp_path_factory.mktemp("names"))


class Listening:
    """Listener, and its counts."""

    def __init__(self, port, failures, opened):
        self.port, self.failures, self.opened = port, failures, opened

    def says(self, context, name):
        """Return the text for a client that asks for a name."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            with context.wrap_socket(sock, server_hostname=name) as session:
                return session.recv(100).decode()

    def answer(self, data, pieces=False):
        """Return all that the listener sends to a client that sends some bytes."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for each in [data[at : at + 1] for at in range(len(data))] if pieces else [data]:
                sock.sendall(each)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionResetError):
                while received := sock.recv(1000):
                    answer += received
            return answer

    async def until_failed(self, **reasons):
        """Wait until handshakes have failed for these reasons, this number of times, and no other."""
        expected = {("tests", reason): count for reason, count in reasons.items()}
        async with asyncio.timeout(10):
            while self.failures != expected or self.opened:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(names, timeout_s=10.0):
    port, failures = free_port(), Counter()
    async with asyncio.TaskGroup() as tasks:
        limits = SourceLimits(tasks, 0, timeout_s, handshake_failures=failures)
        listener = await admit_tcp("tests", "127.0.0.1", port, NamedContext(names.ends.get), Namer, limits)
        try:
            yield Listening(port, failures, listener.open)
        finally:
            listener.close()


def hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_each_name_admits_clients_of_its_own_authority(names, run):
    async def main():
        async with listening(names) as door:
            for name in names.ends:
                assert await asyncio.to_thread(door.says, names.client(name), name) == name
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await asyncio.to_thread(door.says, names.client("a.tenants.test"), "b.tenants.test")
            await door.until_failed(unknown_authority=1)

    run(main)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "single bytes"])
@pytest.mark.parametrize("name", ["c.tenants.test", None, "a.tenants.test.", "A.TENANTS.TEST"])
def test_any_other_name_or_none_gets_the_alert(names, run, name, pieces):
    async def main():
        async with listening(names) as door:
            answer = await asyncio.to_thread(door.answer, hello(name), pieces)
            assert answer == ALERT + bytes((UNRECOGNIZED_NAME,))
            await door.until_failed(unknown_name=1)

    run(main)


def test_a_hello_in_single_bytes_is_answered_with_a_handshake(names, run):
    async def main():
        async with listening(names) as door:
            answer = await asyncio.to_thread(door.answer, hello("a.tenants.test"), True)
            assert answer[:1] == b"\x16"
            await door.until_failed(closed=1)

    run(main)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", bytes(100)])
def test_what_is_no_hello_gets_an_alert(names, run, data):
    async def main():
        async with listening(names) as door:
            assert await asyncio.to_thread(door.answer, data) == ALERT + bytes((DECODE_ERROR,))
            await door.until_failed(not_tls=1)

    run(main)


def test_a_client_that_leaves_or_says_nothing_more_is_counted(names, run):
    async def main():
        async with listening(names, timeout_s=0.3) as door:
            for size in (0, 1, 100):
                assert await asyncio.to_thread(door.answer, hello("a.tenants.test")[:size]) == b""
            await door.until_failed(closed=3)
            with socket.create_connection(("127.0.0.1", door.port), 10) as sock:
                sock.sendall(hello("a.tenants.test")[:100])
                assert await asyncio.to_thread(sock.recv, 1) == b""
            await door.until_failed(closed=3, timeout=1)

    run(main)

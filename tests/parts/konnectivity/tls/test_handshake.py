"""Handshakes that a listener refuses: the alert that reaches the client, the reason that is counted and logged."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from konnectivity.net import source_limit
from konnectivity.net.socket_listeners import admit_tcp
from konnectivity.net.source_limit import SourceLimits
from konnectivity.runtime import logs
from konnectivity.runtime.logs.line_rate import LineRate
from konnectivity.testing.deployment import free_port
from konnectivity.tls import ClientTls, ServerTls, handshake_failures
from konnectivity.tool.pki.authority import Authority
from support.checkout import DOCS

VERSIONS = {"TLS 1.3": ssl.TLSVersion.TLSv1_3, "TLS 1.2": ssl.TLSVersion.TLSv1_2}


@pytest.fixture(autouse=True)
def fresh_line_rate(monkeypatch):
    """Reset the line rate, so that lines of other tests about this address do not count."""
    monkeypatch.setattr(source_limit, "peer_log", logs.get_peer_log("door", LineRate()))


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@asynccontextmanager
async def listening(pki, timeout_s=10.0):
    """Run a listener that requires client certificates; yield its port, and the counts of failures."""
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",))
    port, found = free_port(), Counter()
    async with asyncio.TaskGroup() as tasks:
        entry = SourceLimits(tasks, handshake_timeout_s=timeout_s, handshake_failures=found)
        listener = await admit_tcp("tests", "127.0.0.1", port, tls.context, Echo, entry)
        try:
            yield port, found
            async with asyncio.timeout(5):
                while listener.open:
                    await asyncio.sleep(0.01)
        finally:
            listener.close()


def talk(port, context):
    """Send at once, as every client of HTTP/2 does, and return the bytes that the client reads."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock, server_hostname="proxy.test") as session,
    ):
        session.sendall(b"hello")
        session.sendall(b"and more")
        return session.recv(5)


def of_another_authority(pki):
    return Authority.create("stranger").issue("agent", client=True)


def expired(pki):
    return pki.authority.issue("agent", client=True, valid_for=timedelta(seconds=-60))


def for_servers(pki):
    return pki.authority.issue("agent", dns=["agent"], server=True)


REFUSED = {
    "no certificate": (None, "no_certificate", "certificate required|handshake failure", "it showed no certificate"),
    "another authority": (
        of_another_authority,
        "unknown_authority",
        "unknown certificate authority",
        "its certificate is not accepted: ",
    ),
    "expired": (expired, "expired", "expired certificate", "its certificate is not accepted: certificate has expired"),
    "for servers": (for_servers, "wrong_purpose", "unsupported certificate", "its certificate is not accepted: "),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_client_is_told_why(pki, run, caplog, kind, version):
    make, reason, alert, text = REFUSED[kind]
    files = ("", "") if make is None else tuple(map(str, make(pki).write(pki.directory, "refused")))
    context = ClientTls(pki.ca, *files, ("h2",)).context()
    context.minimum_version = context.maximum_version = VERSIONS[version]

    async def main():
        async with listening(pki) as (port, found):
            with pytest.raises(ssl.SSLError) as caught:
                await asyncio.to_thread(talk, port, context)
            assert handshake_failures.alert_of(caught.value) in alert.split("|")
        return found

    assert run(main) == {("tests", reason): 1}
    (line,) = [record for record in caplog.records if record.getMessage() == "TLS handshake failed"]
    assert line.fields["listener"] == "tests"
    assert line.fields["peer"] == "127.0.0.1"
    assert line.fields["reason"].startswith(text)


def say(port, data, wait=True):
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        return sock.recv(100) if wait else b""


@pytest.mark.parametrize(
    ("attempt", "reason", "logged"),
    [
        (lambda port, pki: say(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "not_tls", True),
        (lambda port, pki: say(port, b"\x00" * 100), "not_tls", True),
        (lambda port, pki: say(port, b"", wait=False), "closed", False),
        (lambda port, pki: say(port, b"\x16\x03\x01", wait=False), "closed", False),
        (lambda port, pki: say(port, b"\x16\x03\x01"), "timeout", False),
    ],
    ids=["HTTP", "zeroes", "nothing", "the beginning", "silence"],
)
def test_what_is_no_handshake(pki, run, caplog, attempt, reason, logged):
    async def main():
        async with listening(pki, timeout_s=0.3) as (port, found):
            await asyncio.to_thread(attempt, port, pki)
        return found

    assert run(main) == {("tests", reason): 1}
    assert any(record.getMessage() == "TLS handshake failed" for record in caplog.records) == logged


def test_a_client_that_does_not_trust_the_server(pki, run):
    stranger = pki.file("stranger.crt", Authority.create("stranger").certificate_pem)
    context = ClientTls(stranger, *pki.client_files, ("h2",)).context()

    async def main():
        async with listening(pki) as (port, found):
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(talk, port, context)
        return found

    assert run(main) == {("tests", "refused_by_peer"): 1}


def test_nothing_in_common(pki, run):
    context = ClientTls(pki.ca, *pki.client_files, ("h2",)).context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-SHA")

    async def main():
        async with listening(pki) as (port, found):
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(talk, port, context)
        return found

    assert run(main) == {("tests", "nothing_in_common"): 1}


def test_a_refused_client_that_stays_is_hung_up_on(pki, run):
    """The listener closes the connection of a client that reads the alert and keeps sending."""
    context = ClientTls(pki.ca, "", "", ("h2",)).context()

    def stay(port):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(incoming, outgoing, server_hostname="proxy.test")
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(10000))
            try:
                for _ in range(100):
                    session.write(bytes(1000))
                    sock.sendall(outgoing.read())
                    sock.settimeout(0.1)
                    try:
                        if not sock.recv(1000):
                            return
                    except TimeoutError:
                        continue
            except (BrokenPipeError, ConnectionResetError):
                return
            raise AssertionError("still connected after 10 s")

    async def main():
        async with listening(pki) as (port, found):
            await asyncio.to_thread(stay, port)
        return found

    assert run(main) == {("tests", "no_certificate"): 1}


def test_a_listener_that_closes_ends_the_handshakes_in_progress(pki, run):
    async def main():
        tls = ServerTls(*pki.server_files, pki.ca, ("h2",))
        port = free_port()
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            listener = await admit_tcp("tests", "127.0.0.1", port, tls.context, Echo, SourceLimits(tasks))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not listener.open:
                await asyncio.sleep(0.01)
            listener.close()
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            assert not listener.open

    run(main)


@pytest.mark.parametrize("reason", handshake_failures.REASONS)
def test_every_reason_is_in_the_docs(reason):

    page = DOCS / "secure/tls.md"
    assert f"`{reason}`" in page.read_text()

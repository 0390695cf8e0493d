"""Files that change under a running listener: real sockets, both event loops, and the log."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from konnectivity.net.socket_listeners import listen_tcp
from konnectivity.tls import ClientTls, ServerTls, TlsError
from konnectivity.tls import certificate_reload as reloading
from konnectivity.tool.pki.authority import Authority, CertificateIdentity
from support.memory_streams import StillLoop


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said(caplog):
    caplog.set_level("INFO")
    return lambda: [(record.levelname, record.getMessage(), record.fields) for record in caplog.records]


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@asynccontextmanager
async def listening(tls: ServerTls):
    server = await listen_tcp("tests", "127.0.0.1", 0, tls.context, Echo)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Line:
    """Connection of a client."""

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> Line:
        line = cls()
        async with asyncio.timeout(10):
            line._reader, line._writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="proxy.test"
            )
            try:
                assert await line.echo(b"hello") == b"hello"
            except BaseException:
                line.close()
                raise
        return line

    async def echo(self, data: bytes) -> bytes:
        self._writer.write(data)
        return await self._reader.readexactly(len(data))

    def close(self) -> None:
        self._writer.transport.abort()

    @property
    def serial(self) -> str:
        return self._writer.get_extra_info("peercert")["serialNumber"]

    @property
    def alpn(self) -> str | None:
        return self._writer.get_extra_info("ssl_object").selected_alpn_protocol()


async def answers(port: int, context: ssl.SSLContext) -> bool:
    try:
        (await Line.open(port, context)).close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


def test_new_connections_see_the_new_certificate_and_old_ones_live(pki, run, clock):
    tls = ServerTls(*pki.server_files, "", ("h2",), clock=clock)
    client = ClientTls(pki.ca, "", "", ("h2",))

    async def main():
        async with listening(tls) as port:
            old = await Line.open(port, client.context())
            same = await Line.open(port, client.context())
            pki.authority.issue("server", dns=["proxy.test"], server=True).write(pki.directory, "server")
            clock.now += 1
            new = await Line.open(port, client.context())
            assert old.serial == same.serial != new.serial
            assert {old.alpn, same.alpn, new.alpn} == {"h2"}
            assert await old.echo(b"still here") == b"still here"
            for line in (old, same, new):
                line.close()

    run(main)
    assert (tls.reloads, tls.reload_failures) == (1, 0)


def test_the_client_ca_is_the_newest_one(pki, run, clock):
    """A CA is rotated in three steps (old, both, new); clients with the old certificate are refused after the third."""
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    successor = Authority.create("second authority")
    renewed = tuple(map(str, successor.issue("agent", client=True).write(pki.directory, "renewed")))
    old, new = (ClientTls(pki.ca, *files, ("h2",)).context() for files in (pki.client_files, renewed))
    bundle = Path(pki.ca)

    async def main():
        async with listening(tls) as port:
            standing = await Line.open(port, old)
            seen = [(await answers(port, old), await answers(port, new))]
            for content in (pki.authority.certificate_pem + successor.certificate_pem, successor.certificate_pem):
                bundle.write_bytes(content)
                clock.now += 1
                seen.append((await answers(port, old), await answers(port, new)))
            assert seen == [(True, False), (True, True), (False, True)]
            assert await standing.echo(b"still here") == b"still here"
            standing.close()

    run(main)


def test_no_session_outlives_a_change(pki, run, clock):
    """A client whose CA is removed cannot resume an old session of TLS 1.2 by its id."""
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    context = ClientTls(pki.ca, *pki.client_files, ("h2",)).context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(port, session=None):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            with context.wrap_socket(sock, server_hostname="proxy.test", session=session) as line:
                line.sendall(b"hello")
                assert line.recv(5) == b"hello"
                return line.session

    async def main():
        async with listening(tls) as port:
            session = await asyncio.to_thread(connect, port)
            assert session.id
            Path(pki.ca).write_bytes(Authority.create("second authority").certificate_pem)
            clock.now += 1
            with pytest.raises(OSError):
                await asyncio.to_thread(connect, port, session)

    run(main)


# ---- when files are checked ------------------------------------------------------------------------------------------


@pytest.fixture
def tls(pki, clock):
    return ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)


def renew(pki) -> CertificateIdentity:
    return pki.authority.issue("server", dns=["proxy.test"], server=True)


def test_files_are_looked_at_once_a_second(pki, tls, clock):
    first = tls.newest()
    renew(pki).write(pki.directory, "server")
    clock.now += 0.9
    assert tls.newest() is first
    clock.now += 0.1
    second = tls.newest()
    assert second is not first
    clock.now += 5
    assert tls.newest() is second


def test_a_volume_of_kubernetes_is_a_link_that_is_turned(pki, tmp_path, clock):
    for version in ("v1", "v2"):
        renew(pki).write(tmp_path / "volume" / version, "tls")
    volume = tmp_path / "volume"
    (volume / "..data").symlink_to("v1")
    for name in ("tls.crt", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    tls = ServerTls(str(volume / "tls.crt"), str(volume / "tls.key"), "", ("h2",), clock=clock)
    (volume / "..data_tmp").symlink_to("v2")
    (volume / "..data_tmp").rename(volume / "..data")
    tls.look()
    assert tls.reloads == 1


def test_a_client_reads_its_files_anew(pki, clock, said):
    tls = ClientTls(pki.ca, *pki.client_files, ("h2",), clock=clock)
    first = tls.context()
    assert tls.context() is first
    pki.authority.issue("agent", client=True).write(pki.directory, "client")
    clock.now += 1
    assert tls.context() is not first
    (told,) = said()
    assert told[:2] == ("INFO", "TLS files have changed; new connections use them")
    assert told[2]["files"] == [*pki.client_files, pki.ca]


def test_a_pair_that_is_replaced_file_by_file_is_no_news(pki, tls, clock, said):
    first, renewed = tls.newest(), renew(pki)
    Path(pki.server_files[0]).write_bytes(renewed.cert_pem)
    for _ in range(4):
        clock.now += 1
        assert tls.newest() is first
    Path(pki.server_files[1]).write_bytes(renewed.key_pem)
    clock.now += 1
    assert tls.newest() is not first
    assert [level for level, *_ in said()] == ["INFO"]
    assert (tls.reloads, tls.reload_failures) == (1, 0)


@pytest.mark.parametrize(
    ("number", "damage", "why"),
    [
        (0, lambda path: path.write_bytes(path.read_bytes()[:200]), "server.crt': line 1: the CERTIFICATE has no end"),
        (1, lambda path: path.write_bytes(b""), "server.key': holds no private key"),
        (1, lambda path: path.write_bytes(Authority.create("x").issue("x", server=True).key_pem), "does not belong to"),
        (2, lambda path: path.write_bytes(b""), "ca.crt': holds no certificate"),
        (2, lambda path: path.unlink(), "ca.crt': No such file or directory"),
        (0, lambda path: (path.unlink(), path.mkdir()), "server.crt': Is a directory"),
    ],
    ids=["half a certificate", "an empty key", "another key", "an empty bundle", "no bundle", "a directory"],
)
def test_what_cannot_be_used_is_said_once_and_tried_again(pki, tls, clock, said, number, damage, why):
    first, path = tls.newest(), Path([*pki.server_files, pki.ca][number])
    before = path.read_bytes()
    damage(path)
    for _ in range(20):
        clock.now += 1
        assert tls.newest() is first
    ((level, message, fields),) = said()
    assert (level, message) == ("WARNING", "TLS files have changed and cannot be used, keeping what was in use")
    assert why in fields["reason"]
    assert (tls.reloads, tls.reload_failures) == (0, 1)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(before)
    clock.now += 1
    assert tls.newest() is not first
    assert (tls.reloads, tls.reload_failures) == (1, 1)
    assert [level for level, *_ in said()] == ["WARNING", "INFO"]


def test_each_change_that_cannot_be_used_is_said(pki, tls, clock, said):
    for content in (b"one", b"another"):
        Path(pki.ca).write_bytes(content)
        for _ in range(7):
            clock.now += 1
            tls.look()
    assert len(said()) == tls.reload_failures == 2


def test_files_are_looked_at_without_connections(pki, tls):
    async def main():
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(tls.run())
        await asyncio.sleep(0)
        renew(pki).write(pki.directory, "server")
        await loop.advance(reloading.IDLE_LOOK_INTERVAL_S - 1)
        assert tls.reloads == 0
        await loop.advance(1)
        assert tls.reloads == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(main())


# ---- log lines -------------------------------------------------------------------------------------------------------


def test_when_things_expire(pki):
    soon = Authority.create("soon gone").issue("ca", client=True, valid_for=timedelta(hours=2))
    bundle = pki.file("bundle.crt", pki.authority.certificate_pem + soon.cert_pem)
    tls = ServerTls(*pki.server_files, bundle, ("h2",))
    now = reloading.wall_clock()
    assert 23.9 * 3600 < tls.not_after - now < 24 * 3600
    assert 1.9 * 3600 < tls.ca_not_after - now < 2 * 3600
    assert abs(tls.last_reload - now) < 60
    nobody = ClientTls(pki.ca, "", "", ("h2",))
    assert nobody.not_after is None
    assert nobody.ca_not_after == pytest.approx(pki.authority.certificate.not_valid_after_utc.timestamp())
    assert ServerTls(*pki.server_files, "", ("h2",)).ca_not_after is None


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (2_500_000_000.0, "The certificate has expired"),
        (1_000_000_000.0, "The certificate is not valid yet"),
    ],
)
def test_a_certificate_out_of_its_time_is_used_and_said(pki, said, when, message):
    ClientTls(pki.ca, *pki.client_files, ("h2",), wall=lambda: when)
    ((level, text, fields),) = said()
    assert (level, text, fields["subject"]) == ("WARNING", message, "CN=agent")


@pytest.mark.parametrize("version", ["VersionTLS10", "VersionTLS11"])
def test_versions_that_openssl_may_refuse(pki, said, version):
    ServerTls(*pki.server_files, "", ("h2",), min_version=version)
    ((_, text, fields),) = said()
    assert text == "TLS below 1.2 is allowed, but OpenSSL may refuse it"
    assert fields["allowed"] == version


def test_files_must_be_good_at_the_start(pki):
    os.unlink(pki.ca)
    with pytest.raises(TlsError, match=f"cannot read CA bundle '{pki.ca}'"):
        ServerTls(*pki.server_files, pki.ca, ("h2",))
    with pytest.raises(TlsError, match=f"cannot read CA bundle '{pki.ca}'"):
        ClientTls(pki.ca, *pki.client_files, ("h2",))


# ---- authorities loaded apart from the pair --------------------------------------------------------------------------


def test_an_authority_goes_although_the_own_pair_is_broken(pki, run, clock):
    """The listener keeps its previous certificate and key, and stops trusting the removed authority."""
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    successor = Authority.create("second authority")
    renewed = tuple(map(str, successor.issue("agent", client=True).write(pki.directory, "renewed")))
    old, new = (ClientTls(pki.ca, *files, ("h2",)).context() for files in (pki.client_files, renewed))

    async def main():
        async with listening(tls) as port:
            assert (await answers(port, old), await answers(port, new)) == (True, False)
            for path in pki.server_files:
                Path(path).write_bytes(b"broken")
            Path(pki.ca).write_bytes(successor.certificate_pem)
            clock.now += 1
            assert (await answers(port, old), await answers(port, new)) == (False, True)

    run(main)
    assert tls.reloads == 1


def test_a_renewed_pair_is_used_although_the_bundle_is_broken(pki, run, clock):
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    client = ClientTls(pki.ca, *pki.client_files, ("h2",)).context()

    async def main():
        async with listening(tls) as port:
            old = await Line.open(port, client)
            Path(pki.ca).write_bytes(b"broken")
            renew(pki).write(pki.directory, "server")
            clock.now += 1
            new = await Line.open(port, client)
            assert old.serial != new.serial
            for line in (old, new):
                line.close()

    run(main)


# ---- no session of TLS 1.2 lives on ----------------------------------------------------------------------------------


def resumed(port, context, session=None):
    """Open a connection of TLS 1.2; return whether it resumed the session, and its own session."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock, server_hostname="proxy.test", session=session) as line,
    ):
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"
        return line.session_reused, line.session


def old_tls(context):
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_a_session_is_not_resumed_a_second_later(pki, run, clock):
    """Every client is verified anew, so a session cannot outlive the client's certificate."""
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    context = old_tls(ClientTls(pki.ca, *pki.client_files, ("h2",)).context())

    async def main():
        async with listening(tls) as port:
            _, session = await asyncio.to_thread(resumed, port, context)
            clock.now += 1
            again, session = await asyncio.to_thread(resumed, port, context, session)
            assert not again
            clock.now += 1
            for path in (*pki.server_files, pki.ca):
                os.unlink(path)
            again, _ = await asyncio.to_thread(resumed, port, context, session)
            assert not again, "not even while the files cannot be read"

    run(main)
    assert tls.reloads == 0


def test_a_session_ends_with_its_certificate(pki, run, clock):
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    short = pki.authority.issue("agent", client=True, valid_for=timedelta(seconds=3))
    files = tuple(map(str, short.write(pki.directory, "short")))
    context = old_tls(ClientTls(pki.ca, *files, ("h2",)).context())

    async def main():
        async with listening(tls) as port:
            _, session = await asyncio.to_thread(resumed, port, context)
            await asyncio.sleep(3.5)
            clock.now += 3.5
            with pytest.raises(ssl.SSLError, match=r"(?i)expired"):
                await asyncio.to_thread(resumed, port, context, session)

    run(main)


def test_connections_of_tls_1_3_have_no_sessions(pki, run, clock):
    tls = ServerTls(*pki.server_files, pki.ca, ("h2",), clock=clock)
    context = ClientTls(pki.ca, *pki.client_files, ("h2",)).context()

    async def main():
        async with listening(tls) as port:
            first = tls.newest()
            for _ in range(3):
                line = await Line.open(port, context)
                line.close()
                clock.now += 1
            assert tls.newest() is first

    run(main)


# ---- a bundle whose last block has no end ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----\nMIIB\n"])
def test_an_unclosed_end_of_a_bundle_is_left_out(pki, said, end):
    """The incomplete last block of a bundle is skipped with a warning, as by the reference."""
    path = pki.file("bundle.crt", pki.authority.certificate_pem + end)
    assert ServerTls(*pki.server_files, path, ("h2",)).ca_not_after is not None
    ((level, text, fields),) = said()
    assert (level, text) == ("WARNING", "The end of the CA bundle is left out")
    assert "the CERTIFICATE has no end" in fields["reason"]


@pytest.mark.parametrize("cut", [27, 200])
def test_a_bundle_that_is_nothing_but_unclosed_is_refused(pki, cut):
    path = pki.file("bundle.crt", pki.authority.certificate_pem[:cut])
    with pytest.raises(TlsError, match="line 1: the CERTIFICATE has no end"):
        ServerTls(*pki.server_files, path, ("h2",))


def test_a_bundle_that_is_being_written_is_waited_for(pki, clock, said):
    """Authorities behind an incomplete block stay trusted for a moment; a file that stays incomplete is then used."""
    second = Authority.create("second authority").certificate_pem
    bundle = pki.file("bundle.crt", pki.authority.certificate_pem + second)
    tls = ServerTls(*pki.server_files, bundle, ("h2",), clock=clock)
    first = tls.newest()
    Path(bundle).write_bytes(pki.authority.certificate_pem + second[:100])
    for _ in range(5):
        clock.now += 1
        assert tls.newest() is first
    clock.now += 1
    tls.newest()
    assert [text for _, text, _ in said()] == [
        "The end of the CA bundle is left out",
        "TLS files have changed; new connections use them",
    ]


def test_sessions_that_a_listener_keeps_are_bounded_without_client_certificates_too(pki, shake, clock):
    tls = ServerTls(*pki.server_files, "", ("h2",), max_sessions=5, clock=clock)
    client = old_tls(ClientTls(pki.ca, "", "", ("h2",)).context())
    kept = []
    for number in range(7):
        first = tls.newest()
        kept.append(shake(first, client))  # a session is dropped with a connection that ends without goodbye
        clock.now += 1
        assert (tls.newest() is first) == (number != 5)

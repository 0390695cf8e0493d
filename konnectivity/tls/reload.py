"""Contexts that follow their files: what changed on disk holds for every connection made from then on.

Owns when files are looked at, and what is said about those that cannot be used. Connections that stand keep the context
they were made with. What the files must be is `contexts`' business.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

from konnectivity import logs
from konnectivity.tls.contexts import Loaded, TlsError, load_client, load_server
from konnectivity.tls.handshake import ServerSession
from konnectivity.tls_names import TLS_VERSIONS

log = logs.get(__name__)

LOOK_INTERVAL_S = 1.0  # connections that come thick and fast do not look at the files each
IDLE_LOOK_INTERVAL_S = 10.0  # without any connection
PATIENCE_S = 5.0  # certificate and key are replaced one after the other, and a file is not written in one go

Clock = Callable[[], float]
Stamp = tuple[int, int, int, int] | None


def wall_clock() -> float:
    """Seconds since 1970."""
    return datetime.now(UTC).timestamp()


class _Files:
    """The newest context of some files that could be made, for one end of TLS.

    Attributes:
        not_after: when the certificate expires, seconds since 1970; None: it shows none.
        ca_not_after: when the first certificate of the CA bundle expires; None: there is no bundle.
        last_reload: when files were last taken into use, seconds since 1970.
        reloads: how often that was, after the first time.
        reload_failures: changes that could not be used.
    """

    def __init__(self, paths: Sequence[str], load: Callable[[], Loaded], wall: Clock, clock: Clock) -> None:
        self.reloads = 0
        self.reload_failures = 0
        self._paths = [path for path in paths if path]
        self._load = load
        self._wall = wall
        self._clock = clock
        self._failing_since: float | None = None
        self._reported: list[Stamp] = []
        self._looked_at = clock()
        self._take(self._stamps(), load())

    def look(self) -> None:
        """Take the files into use if they have changed. If they cannot be used, what was stays, and the log says so."""
        self._looked_at = self._clock()
        stamps = self._stamps()  # before the files are read: a change under way is one more change, at the next look
        if stamps == self._used and self._failing_since is None:
            return
        try:
            loaded = self._load()
        except TlsError as error:
            self._fail(stamps, str(error))
            return
        self._failing_since = None
        self._reported = []
        self.reloads += 1
        self._take(stamps, loaded)
        log.info("TLS files have changed; new connections use them", files=self._paths)

    async def run(self) -> None:
        """Look at the files even if nobody connects, for ever: what is wrong with them shall be known before."""
        while True:
            await asyncio.sleep(IDLE_LOOK_INTERVAL_S if self._failing_since is None else LOOK_INTERVAL_S)
            self.look()

    def newest(self) -> ssl.SSLContext:
        """For a connection that is made now."""
        if self._clock() - self._looked_at >= LOOK_INTERVAL_S:
            self.look()
        return self._context

    def _take(self, stamps: list[Stamp], loaded: Loaded) -> None:
        self._used = stamps
        self._context = loaded.context
        self.not_after = loaded.certificate.not_after if loaded.certificate is not None else None
        self.ca_not_after = loaded.ca_not_after
        now = self.last_reload = self._wall()
        if loaded.certificate is None:
            return
        subject, not_before, not_after = loaded.certificate
        if not_after < now:
            log.warning("The certificate has expired", subject=subject, expired=_date(not_after), files=self._paths)
        elif not_before > now:
            log.warning("The certificate is not valid yet", subject=subject, valid=_date(not_before), files=self._paths)

    def _fail(self, stamps: list[Stamp], reason: str) -> None:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= PATIENCE_S and stamps != self._reported:
            self._reported = stamps
            self.reload_failures += 1
            log.warning("TLS files have changed and cannot be used, keeping what was in use", reason=reason)

    def _stamps(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


class ServerTls(_Files):
    """A listener's. `context` is for `create_server`, once; arguments and errors are `server_context`'s."""

    def __init__(
        self,
        certificate: str,
        key: str,
        client_ca: str,
        alpn: Sequence[str],
        *,
        optional_client: bool = False,
        ciphers: Sequence[str] = (),
        min_version: str = "",
        wall: Clock = wall_clock,
        clock: Clock = monotonic,
    ) -> None:
        def load() -> Loaded:
            return load_server(certificate, key, client_ca, alpn, optional_client, ciphers, min_version)

        super().__init__((certificate, key, client_ca), load, wall, clock)
        if TLS_VERSIONS.get(min_version, ssl.TLSVersion.TLSv1_2) < ssl.TLSVersion.TLSv1_2:
            log.warning(
                "TLS below 1.2 is allowed, but OpenSSL may refuse it", allowed=min_version, openssl=ssl.OPENSSL_VERSION
            )
        self.context: ssl.SSLContext = _ListenerContext(self.newest)


class ClientTls(_Files):
    """A client's. Arguments and errors are `client_context`'s.

    Attributes:
        alpn: protocols that are offered.
    """

    def __init__(
        self,
        ca: str,
        certificate: str,
        key: str,
        alpn: Sequence[str],
        *,
        wall: Clock = wall_clock,
        clock: Clock = monotonic,
    ) -> None:
        self.alpn = tuple(alpn)
        super().__init__((ca, certificate, key), lambda: load_client(ca, certificate, key, alpn), wall, clock)

    def context(self) -> ssl.SSLContext:
        """For a connection that is made now."""
        return self.newest()


class _ListenerContext(ssl.SSLContext):
    """A listener keeps one context for life; this one begins each connection with the newest instead of itself."""

    _newest: Callable[[], ssl.SSLContext]

    def __new__(cls, newest: Callable[[], ssl.SSLContext]) -> _ListenerContext:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._newest = newest
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        made = self._newest().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, ServerSession):
            made.watch(incoming, outgoing)
        return made


def _stamp(path: str) -> Stamp:
    """What differs when a file was written or replaced, or a link in its path now leads elsewhere. None: not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

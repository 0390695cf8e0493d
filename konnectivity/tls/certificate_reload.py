"""TLS contexts that are renewed when certificates, keys or CA bundles on disk have changed.

Decides when the files are checked, and logs changes that cannot be used. New connections use the newest context; others
keep theirs. `pem_files` judges the files, `contexts` makes the contexts.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from konnectivity.runtime import logs
from konnectivity.tls.contexts import make_client, make_server
from konnectivity.tls.go_names import TLS_VERSIONS
from konnectivity.tls.handshake import ServerSession
from konnectivity.tls.pem_files import Bundle, Pair, TlsError, read_bundle, read_pair

log = logs.get(__name__)

LOOK_INTERVAL_S = 1.0  # least time between two checks, however many connections are made
IDLE_LOOK_INTERVAL_S = 10.0  # between two checks while no connection is made
MAX_SESSIONS = 1000  # sessions of TLS 1.2 at a listener without client certificates
PATIENCE_S = 5.0  # seconds: certificate and key are replaced one after the other, and files are written in steps

Clock = Callable[[], float]
Make = Callable[[Pair | None, Bundle | None], ssl.SSLContext]
Stamp = tuple[int, int, int, int] | None
T = TypeVar("T")


def wall_clock() -> float:
    """Return the seconds since 1970."""
    return time.clock_gettime(time.CLOCK_REALTIME)


class _Part(Generic[T]):
    """Files that belong together, and the newest content of them that can be used.

    Args:
        paths: the files.
        read: returns their content; its argument allows what a file that is still being written looks like.

    """

    def __init__(self, paths: Sequence[str], read: Callable[[bool], T]) -> None:
        self._paths = paths
        self._read = read
        self._used = self._stamps()
        self._failing_since: float | None = None
        self._reported: list[Stamp] = []
        self.value = read(True)

    @property
    def failing(self) -> bool:
        """Return whether the present files cannot be used."""
        return self._failing_since is not None

    def look(self, now: float) -> bool:
        """Read the files if they have changed, and return whether there is a new value.

        Raises:
            TlsError: the files cannot be used, which was not reported yet. The value stays.

        """
        stamps = self._stamps()  # before reading: a later change is found by the next check
        if stamps == self._used and not self.failing:
            return False
        patient = self._failing_since is None or now - self._failing_since < PATIENCE_S
        try:
            self.value = self._read(not patient)
        except TlsError:
            self._failing_since = now if self._failing_since is None else self._failing_since
            if patient or stamps == self._reported:
                return False
            self._reported = stamps
            raise
        self._failing_since, self._reported, self._used = None, [], stamps
        return True

    def _stamps(self) -> list[Stamp]:
        return [stamp_of(path) for path in self._paths]


class _Files:
    """Files of one end of TLS, and the newest context made of them.

    Attributes:
        not_after: when the certificate expires, seconds since 1970; None: there is no certificate.
        ca_not_after: when the first certificate of the CA bundle expires; None: there is no bundle.
        last_reload: when files were last read into a context, seconds since 1970.
        reloads: number of changes that were taken into use.
        reload_failures: number of changes that could not be used.

    Args:
        pair: certificate and key; both empty: none.
        ca: CA bundle; empty: none.
        make: makes a context of pair and bundle.
        wall: returns seconds since 1970.
        clock: returns monotonic seconds.

    """

    def __init__(
        self,
        pair: tuple[str, str],
        ca: str,
        make: Make,
        wall: Clock,
        clock: Clock,
    ) -> None:
        self.reloads = 0
        self.reload_failures = 0
        self._paths = [path for path in (*pair, ca) if path]
        self._make = make
        self._wall = wall
        self._clock = clock
        self._pair = _Part(pair, lambda lenient: read_pair(*pair)) if pair[0] else None
        self._bundle = _Part((ca,), lambda lenient: read_bundle(ca, lenient)) if ca else None
        self._looked_at = clock()
        self._stale = False  # whether the context is older than the content
        self._renew()
        self._taken()

    def look(self) -> None:
        """Use files that have changed. If they cannot be used, log that and keep the old content."""
        now = self._looked_at = self._clock()
        for part in (self._pair, self._bundle):
            try:
                self._stale |= part is not None and part.look(now)
            except TlsError as error:
                self._cannot_use(error)
        if not self._stale and not self._spent():
            return
        try:
            self._renew()
        except TlsError as error:  # no files in memory on this system, and those on disk have changed since
            self._cannot_use(error)
            return
        if self._stale:
            self._stale = False
            self.reloads += 1
            self._taken()
            log.info("TLS files have changed; new connections use them", files=self._paths)

    async def run(self) -> None:
        """Check the files until cancelled, also without connections, so that faults are known before they matter."""
        while True:
            failing = any(part is not None and part.failing for part in (self._pair, self._bundle))
            await asyncio.sleep(LOOK_INTERVAL_S if failing else IDLE_LOOK_INTERVAL_S)
            self.look()

    def newest(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        if self._clock() - self._looked_at >= LOOK_INTERVAL_S:
            self.look()
        return self._context

    def _spent(self) -> bool:
        """Return whether a new context is needed although no file has changed."""
        return False

    def _renew(self) -> None:
        pair = self._pair.value if self._pair is not None else None
        self._context = self._make(pair, self._bundle.value if self._bundle is not None else None)

    def _taken(self) -> None:
        now = self.last_reload = self._wall()
        self.not_after = self.ca_not_after = None
        if self._bundle is not None:
            self.ca_not_after = self._bundle.value.not_after
            if unclosed := self._bundle.value.unclosed:
                log.warning("The end of the CA bundle is left out", files=self._paths, reason=unclosed)
        if self._pair is None:
            return
        subject, not_before, not_after, _ = self._pair.value.shown
        self.not_after = not_after
        if not_after < now:
            log.warning("The certificate has expired", subject=subject, expired=_date(not_after), files=self._paths)
        elif not_before > now:
            log.warning("The certificate is not valid yet", subject=subject, valid=_date(not_before), files=self._paths)

    def _cannot_use(self, error: TlsError) -> None:
        self.reload_failures += 1
        log.warning("TLS files have changed and cannot be used, keeping what was in use", reason=str(error))


class ServerTls(_Files):
    """TLS files of a listener. Errors and most arguments are those of `server_context`.

    Attributes:
        context: for the listener, which keeps it for life; each connection gets the newest context.

    Args:
        max_sessions: sessions of TLS 1.2 that are kept when clients show no certificates.

    """

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
        max_sessions: int = MAX_SESSIONS,
        wall: Clock = wall_clock,
        clock: Clock = monotonic,
    ) -> None:
        def make(pair: Pair | None, bundle: Bundle | None) -> ssl.SSLContext:
            assert pair is not None
            return make_server(pair, bundle, alpn, optional_client, ciphers, min_version)

        super().__init__((certificate, key), client_ca, make, wall, clock)
        self._max_sessions = max_sessions
        if TLS_VERSIONS.get(min_version, ssl.TLSVersion.TLSv1_2) < ssl.TLSVersion.TLSv1_2:
            log.warning(
                "TLS below 1.2 is allowed, but OpenSSL may refuse it", allowed=min_version, openssl=ssl.OPENSSL_VERSION
            )
        self.files = (certificate, key, client_ca)
        self.context: ssl.SSLContext = ListenerContext(self.newest)

    def current(self) -> tuple[Pair, Bundle | None]:
        """Return the newest certificate and authorities."""
        self.newest()
        assert self._pair is not None
        return self._pair.value, self._bundle.value if self._bundle is not None else None

    def _spent(self) -> bool:
        """Return whether the context has too many sessions of TLS 1.2: clients that resume one are not verified."""
        return self._context.session_stats()["number"] > (self._max_sessions if self._bundle is None else 0)


class ClientTls(_Files):
    """TLS files of a client. Errors and most arguments are those of `client_context`.

    Args:
        make: makes a context of another kind, also without CA.

    Attributes:
        alpn: protocols that are offered.
        files: paths of the CA, the certificate and the key; the last two may be empty.

    """

    def __init__(
        self,
        ca: str,
        certificate: str,
        key: str,
        alpn: Sequence[str],
        *,
        make: Make | None = None,
        wall: Clock = wall_clock,
        clock: Clock = monotonic,
    ) -> None:
        self.alpn = tuple(alpn)
        self.files = (ca, certificate, key)

        def make_usual(pair: Pair | None, bundle: Bundle | None) -> ssl.SSLContext:
            assert bundle is not None
            return make_client(bundle, pair, alpn)

        super().__init__((certificate, key), ca, make or make_usual, wall, clock)

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        return self.newest()


class ListenerContext(ssl.SSLContext):
    """Context of a listener that begins each connection with the newest context in its place."""

    _newest: Callable[[], ssl.SSLContext]

    def __new__(cls, newest: Callable[[], ssl.SSLContext]) -> ListenerContext:
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


def stamp_of(path: str) -> Stamp:
    """Return values that change when a file or a link in its path is replaced; None if there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

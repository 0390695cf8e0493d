"""TLS files of a tenant's listeners: read when they change, made into a context when a client first asks for it.

Owns the content in use. A server certificate that many tenants share is read once. Does not decide when files are
looked at, nor whether an authority may be used.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from konnectivity.tls.certificate_reload import Stamp, stamp_of, wall_clock
from konnectivity.tls.contexts import make_server
from konnectivity.tls.pem_files import Bundle, Pair, read_bundle, read_pair

Files = tuple[str, str, str]  # certificate, key, CA; the last may be empty


class SharedPairs:
    """Server certificates with their keys, read once for all tenants that name the same files."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], tuple[tuple[Stamp, Stamp], Pair]] = {}

    def read(self, certificate: str, key: str) -> Pair:
        """Return the pair of two files as they are now.

        Raises:
            TlsError: the files cannot be used.

        """
        stamps = stamp_of(certificate), stamp_of(key)
        known = self._pairs.get((certificate, key))
        if known is not None and known[0] == stamps:
            return known[1]
        pair = read_pair(certificate, key)
        self._pairs[certificate, key] = stamps, pair
        return pair

    def keep(self, used: set[tuple[str, str]]) -> None:
        """Forget the pairs that no tenant uses any more."""
        for unused in self._pairs.keys() - used:
            del self._pairs[unused]


class TlsContent:
    """Content of the TLS files of one listener, of which nothing changes.

    Args:
        files: paths of the files.
        pairs: reads the certificate with its key.
        like: content of files that were just read: the same file is not read again.

    Raises:
        TlsError: the files cannot be used.

    """

    __slots__ = ("_ca", "bundle", "pair")

    def __init__(self, files: Files, pairs: SharedPairs, like: TlsContent | None = None) -> None:
        certificate, key, self._ca = files
        self.bundle: Bundle | None
        self.pair: Pair = pairs.read(certificate, key)
        if like is not None and like._ca == self._ca:
            self.bundle = like.bundle
        else:
            self.bundle = read_bundle(self._ca, unclosed_end=False) if self._ca else None

    def same_as(self, other: TlsContent) -> bool:
        """Return whether another content is equal."""
        return self.pair == other.pair and self.bundle == other.bundle


class TenantTls:
    """TLS of one listener of a tenant.

    Attributes:
        not_after: when the certificate expires, seconds since 1970.
        ca_not_after: when the first certificate of the CA bundle expires; None: there is no bundle.
        last_reload: when content was last taken into use, seconds since 1970.
        reloads: number of changes that were taken into use.
        reload_failures: number of changes that could not be used.

    Args:
        content: content of the files.
        alpn: protocols, the preferred one first.
        ciphers: Go's names of the suites for TLS 1.2; empty: Go's choice.
        min_version: Go's name of the lowest TLS version; empty: 1.2.
        wall: returns seconds since 1970.

    """

    def __init__(
        self,
        content: TlsContent,
        alpn: Sequence[str],
        ciphers: Sequence[str],
        min_version: str,
        wall: Callable[[], float] = wall_clock,
    ) -> None:
        self.reloads = 0
        self.reload_failures = 0
        self._alpn = tuple(alpn)
        self._ciphers = tuple(ciphers)
        self._min_version = min_version
        self._wall = wall
        self._context: ssl.SSLContext | None = None
        self._take(content)

    def current(self) -> tuple[Pair, Bundle | None]:
        """Return the certificate and the authorities in use."""
        return self.content.pair, self.content.bundle

    def newest(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Raises:
            TlsError: OpenSSL cannot use the content.

        """
        # A client that resumes a session of TLS 1.2 is not verified again: a context with sessions is not used again.
        if self._context is None or self._context.session_stats()["number"]:
            pair, bundle = self.content.pair, self.content.bundle
            self._context = make_server(pair, bundle, self._alpn, False, self._ciphers, self._min_version)
        return self._context

    def renew(self, content: TlsContent) -> bool:
        """Use other content for new connections, and return whether it differs."""
        if content.same_as(self.content):
            return False
        self._take(content)
        self.reloads += 1
        return True

    def _take(self, content: TlsContent) -> None:
        self.content = content
        self._context = None
        self.last_reload = self._wall()
        self.not_after: float | None = content.pair.shown.not_after
        self.ca_not_after: float | None = content.bundle.not_after if content.bundle is not None else None

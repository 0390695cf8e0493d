"""TLS of one listener whose clients belong to several roles: one certificate, and the authorities of all roles.

Owns the context. The files of each role are in a `ServerTls` of its own, which renews them. Does not know what a role
may do.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from konnectivity.tls.certificate_reload import ListenerContext
from konnectivity.tls.contexts import make_server
from konnectivity.tls.pem_files import Bundle, Pair, TlsError
from konnectivity.tls.verified_chain import has_certificate, verified_chain

Content = tuple[Pair, Bundle | None]


class RoleFiles(Protocol):
    """TLS files of one role; clients of a role without authorities show no certificate."""

    def current(self) -> Content:
        """Return the newest content of the files."""


class SharedTls:
    """TLS of a listener for several roles.

    Attributes:
        context: for the listener, which keeps it for life; each connection gets the newest context.

    Args:
        roles: files of each role, by name; the certificate of the first is shown.
        alpn: protocols, the preferred one first.
        ciphers: Go's names of the suites for TLS 1.2; empty: Go's choice.
        min_version: Go's name of the lowest TLS version; empty: 1.2.

    Raises:
        TlsError: the files cannot be used, or two roles have an authority in common.

    """

    def __init__(
        self, roles: Mapping[str, RoleFiles], alpn: Sequence[str], ciphers: Sequence[str] = (), min_version: str = ""
    ) -> None:
        self._roles = dict(roles)
        self._make: Callable[[Pair, Bundle | None, bool], ssl.SSLContext] = lambda pair, bundle, optional: make_server(
            pair, bundle, alpn, optional, ciphers, min_version
        )
        self._content = self._current()
        self._refuse_common_authorities()
        self._context = self._made()
        self.context: ssl.SSLContext = ListenerContext(self.newest)

    def newest(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        content = self._current()
        # A client that resumes a session of TLS 1.2 is not verified again: a context with sessions is not used again.
        if content != self._content or self._context.session_stats()["number"]:
            self._content = content
            self._context = self._made()
        return self._context

    def role_of(self, session: ssl.SSLObject) -> str | None:
        """Return the role that the credential of a client gives; None if it gives none, or more than one."""
        if not has_certificate(session):
            found = [role for role, (_, bundle) in self._content.items() if bundle is None]
        else:
            chain = verified_chain(session)
            found = [role for role, (_, bundle) in self._content.items() if bundle is not None and bundle.has(chain)]
        return found[0] if len(found) == 1 else None

    def _current(self) -> dict[str, Content]:
        return {role: files.current() for role, files in self._roles.items()}

    def _made(self) -> ssl.SSLContext:
        bundles = [bundle for _, bundle in self._content.values() if bundle is not None]
        authorities = tuple(dict.fromkeys(der for bundle in bundles for der in bundle.certificates))
        pair = next(iter(self._content.values()))[0]
        joined = Bundle(authorities, min(each.not_after for each in bundles)) if bundles else None
        return self._make(pair, joined, len(bundles) < len(self._content))

    def _refuse_common_authorities(self) -> None:
        owners: dict[bytes, str] = {}
        for role, (_, bundle) in self._content.items():
            for der in bundle.certificates if bundle is not None else ():
                if owners.setdefault(der, role) != role:
                    raise TlsError(
                        f"the CA bundles of {owners[der]} and {role} have a certificate in common: use two CAs, or two "
                        "ports"
                    )

"""Attempts to reach the server at one address, for one tenant: the pause after each, and the reason of failures.

A reason that several tenants have at the same time has one line in the log. Opens no connection.
"""

from __future__ import annotations

from random import Random

from konnectivity.net.backoff import Backoff
from konnectivity.runtime import logs
from konnectivity_server.peers.address_book import AddressBook, PeerAddress

log = logs.get(__name__)

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
KNOWN_PAUSE_S = 30.0  # until an address that led to this server itself, or to a connected one, is tried again
KNOWN_SPREAD = 1.2  # factor of that pause, so that of many tenants one tries, and the others learn
REFUSED_PAUSE_S = 30.0  # longest pause after a server refused this one, unless that server connects meanwhile


class AddressAttempts:
    """Attempts to reach the server at one address.

    Args:
        book: facts that the tenants of the process share.
        address: address that is tried.
        random: spreads the pauses.

    """

    def __init__(self, book: AddressBook, address: PeerAddress, random: Random) -> None:
        self._book = book
        self._peer = f"{address.host}:{address.port}"
        self._random = random
        self._backoff = Backoff(FIRST_PAUSE_S, REFUSED_PAUSE_S, 1.5, random=random)
        self._reason = ""

    def failed(self, reason: str, most_s: float = LAST_PAUSE_S) -> float:
        """Note why an attempt failed, and return the seconds until the next one, `most_s` at most."""
        if reason != self._reason:
            self._forget_reason()
            self._reason = reason
            if self._book.begin(self._peer, reason):
                text = "Cannot connect to the peer, will keep trying"
                self._book.report(log.warning, text, peer=self._peer, reason=reason)
        return self._backoff.next(most_s)

    def succeeded(self) -> None:
        """Note that there was a tunnel, or that none is needed."""
        self._forget_reason()
        self._backoff.reset()

    def pause_s(self) -> float:
        """Return the seconds until the attempt after one without news, or after a tunnel that is over."""
        return self._backoff.next(LAST_PAUSE_S)

    def known_pause_s(self) -> float:
        """Return the seconds until the attempt after one that led to a server with a tunnel, or to this one."""
        return KNOWN_PAUSE_S * self._random.uniform(1.0, KNOWN_SPREAD)

    def end(self) -> None:
        """Make no more attempts."""
        self._forget_reason()

    def _forget_reason(self) -> None:
        if self._reason:
            self._book.end(self._peer, self._reason)
            self._reason = ""

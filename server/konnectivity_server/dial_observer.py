"""Observer of one dial: the interface of the audit record and of the spans of a dial. Pure."""

from __future__ import annotations

from typing import Protocol

from konnectivity.errors import DialError
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel


class DialObserver(Protocol):
    """Observer of one dial: told each try, each answer that leads to another try, and once the outcome."""

    def asking(self, tunnel: DialingTunnel) -> None:
        """Note that an agent or a peer server is asked, instead of the last one."""

    def declined(self, error: DialError) -> None:
        """Note the error of the last try, after which another backend may be asked."""

    def dialled(self, connection: Connection) -> None:
        """Note that the dial ended with a connection."""

    def refused(self, error: DialError) -> None:
        """Note that the dial ended without a connection, and why."""


class JoinedObservers:
    """Two observers of one dial, told in their order."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: DialObserver, second: DialObserver) -> None:
        self._first = first
        self._second = second

    def asking(self, tunnel: DialingTunnel) -> None:
        """Tell both observers which backend is asked."""
        self._first.asking(tunnel)
        self._second.asking(tunnel)

    def declined(self, error: DialError) -> None:
        """Tell both observers the error of the last try."""
        self._first.declined(error)
        self._second.declined(error)

    def dialled(self, connection: Connection) -> None:
        """Tell both observers the connection."""
        self._first.dialled(connection)
        self._second.dialled(connection)

    def refused(self, error: DialError) -> None:
        """Tell both observers the error of the dial."""
        self._first.refused(error)
        self._second.refused(error)


def joined(first: DialObserver | None, second: DialObserver | None) -> DialObserver | None:
    """Return one observer for up to two, or None if there are none."""
    if first is None or second is None:
        return first or second
    return JoinedObservers(first, second)

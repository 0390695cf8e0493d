"""Client tunnel: the part of a dial that is the same in both modes, checks, timeout and errors.

Owns the state open or closed. Does not know how a dial is made: a derived class does.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

from konnectivity.client.frontend_address import FrontendAddress, Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of
from konnectivity.net.happy_eyeballs import ConnectError
from konnectivity.net.hop_timings import HopTimings

DIAL_TIMEOUT_S = 30.0
_MISUNDERSTOOD = (DialFailure.TUNNEL_LOST, DialFailure.PROTOCOL)
_SPEAK_TLS = "the connection was not encrypted, and a server's TCP frontend speaks TLS: pass tls=tls_context(...)"


class ClientTunnel(ABC):
    """Way to the targets behind a proxy server; made by `konnectivity.client.connect`."""

    def __init__(self, frontend: FrontendAddress) -> None:
        self._frontend = frontend
        self._closed = False

    async def dial(self, address: str, timeout_s: float = DIAL_TIMEOUT_S, hops: HopTimings | None = None) -> Streams:
        """Connect to `address` and return the reader and the writer of the connection.

        Args:
            address: "host:port" or "[v6]:port"; the agent resolves the host.
            timeout_s: longest time that the dial takes, in seconds.
            hops: is told when each hop is done.

        Raises:
            DialError: with the failure's kind and text.
            ValueError: the address is not a string, or the timeout not a number of seconds.

        """
        check_text("address", address)
        _check_timeout(timeout_s)
        if self._closed:
            raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed")
        try:
            addresses.parse("tcp", address)
        except ValueError as error:
            raise DialError(DialFailure.ADDRESS, str(error)) from None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._dial_explained(address, hops or HopTimings())
        except TimeoutError as error:
            raise DialError(DialFailure.TIMEOUT, f"no answer to the dial within {timeout_s:g} s") from error
        except OSError as error:
            if isinstance(error, DialError):
                raise
            text = f"cannot reach the proxy server: {error if isinstance(error, ConnectError) else words_of(error)}"
            raise DialError(DialFailure.TUNNEL_LOST, text) from error

    async def close(self) -> None:
        """Close what the dials share. Connections of a gRPC tunnel end with it, and every later dial fails."""
        self._closed = True
        await self._close()

    async def _dial_explained(self, address: str, hops: HopTimings) -> Streams:
        """Dial; where the server does not understand cleartext, say in the error that it may want TLS."""
        try:
            return await self._dial(address, hops)
        except DialError as error:
            if self._frontend.unencrypted and error.failure in _MISUNDERSTOOD:
                raise DialError(error.failure, f"{error}; {_SPEAK_TLS}") from error
            raise

    @abstractmethod
    async def _dial(self, address: str, hops: HopTimings) -> Streams: ...

    @abstractmethod
    async def _close(self) -> None: ...


def check_text(what: str, value: object) -> None:
    """Raise ValueError unless the argument named `what` is a string."""
    if not isinstance(value, str):
        raise ValueError(f'{what} must be a text such as "10.0.0.7:10250", not {value!r}')


def _check_timeout(seconds: object) -> None:
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"timeout_s must be a number of seconds, 0 or more, not {seconds!r}")

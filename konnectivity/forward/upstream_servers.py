"""Proxy servers through which `konnectivity forward` dials: the first that works answers a dial.

Owns a client tunnel for each frontend. A frontend that cannot be reached, does not answer or has no agent costs a try
on the next one, which is used first from then on. Does not know the clients.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic

from konnectivity.client import Mode, tunnel_to
from konnectivity.client.frontend_address import FrontendAddress, Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.runtime import logs

log = logs.get(__name__)

TRY_S = 12.0  # seconds for one frontend while another is left; a server's --backend-dial-timeout is 10 s
_OF_DESTINATION = (DialFailure.NO_AGENT, DialFailure.BUDGET)  # a server answered, and may serve other destinations
_ELSEWHERE = (DialFailure.TUNNEL_LOST, DialFailure.PROTOCOL, DialFailure.NO_AGENT, DialFailure.BUDGET)


class UpstreamServers:
    """Proxy servers, in the order in which they are tried.

    Attributes:
        failures: failed tries, by frontend.
        last_failure: reason why no frontend answered the last dial; None if one did.

    Args:
        frontends: addresses, "unix:/path" or "host:port".
        mode: protocol of the frontends, "grpc" or "http-connect".
        tls: returns the newest client context for TCP.
        server_name: name that a server's certificate must carry; None: the host.
        token: returns the newest token that is shown to servers; None: none is shown.
        clock: seconds, monotonic.

    Raises:
        ValueError: an address is malformed.

    """

    def __init__(
        self,
        frontends: Sequence[str],
        mode: Mode,
        tls: Callable[[], ssl.SSLContext] | None,
        server_name: str | None,
        token: Callable[[], str] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.last_failure: str | None = None
        self._clock = clock
        self._tunnels = [(each, tunnel_to(FrontendAddress(each, tls, server_name, token), mode)) for each in frontends]
        self._first = 0

    async def dial(self, address: str, timeout_s: float) -> Streams:
        """Connect to "host:port" through the first frontend that can.

        Raises:
            DialError: with the failure of the frontend that was tried last.

        """
        end = self._clock() + timeout_s
        first, count = self._first, len(self._tunnels)
        for tried in range(count):
            index = (first + tried) % count
            left = max(0.0, end - self._clock())
            last = tried == count - 1
            try:
                streams = await self._tunnels[index][1].dial(address, left if last else min(left, TRY_S))
            except DialError as error:
                if not self._is_of_frontend(error):
                    self._serves(index)
                    raise
                self._note(index, error)
                if last or left <= 0:
                    if error.failure not in _OF_DESTINATION:
                        self.last_failure = str(error)
                    raise
            else:
                self._serves(index)
                return streams
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the tunnels; connections through a gRPC frontend end."""
        for _, tunnel in self._tunnels:
            await tunnel.close()

    def _serves(self, index: int) -> None:
        """Note that a frontend answered, even if with the error of a destination."""
        self._first = index
        self.last_failure = None

    def _note(self, index: int, error: DialError) -> None:
        name = self._tunnels[index][0]
        self.failures[name] += 1
        if index == self._first and len(self._tunnels) > 1:
            self._first = (index + 1) % len(self._tunnels)
            log.warning("Proxy server failed, asking the next one", server=name, reason=str(error))

    @staticmethod
    def _is_of_frontend(error: DialError) -> bool:
        """Return whether another frontend may do better."""
        return error.failure in _ELSEWHERE or isinstance(error.__cause__, TimeoutError)

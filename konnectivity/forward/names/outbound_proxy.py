"""HTTP proxy behind the tunnel, through which destinations are reached, as in networks that allow no other way out.

Owns its URL and the list of destinations that are dialled without it, in the form of HTTPS_PROXY and NO_PROXY. Does not
know how the proxy is dialled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from konnectivity.client.byte_pump import Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.http1 import forward_proxy
from konnectivity.http1.forward_proxy import Proxy, ProxyAnswer, ProxyError

ANSWER_S = 20.0  # seconds


class OutboundProxy:
    """Proxy behind the tunnel.

    Args:
        url: of the proxy, `http://host:port`, with user and password or not.
        without: destinations that are dialled without it, separated by commas.

    Raises:
        ValueError: the URL is not that of an HTTP proxy.

    """

    def __init__(self, url: str, without: str) -> None:
        self._environment = {"https_proxy": url, "no_proxy": without}
        forward_proxy.choose({"https_proxy": url}, "proxy.invalid", 443)  # raises for a malformed URL

    def proxy_of(self, host: str, port: int) -> Proxy | None:
        """Return the proxy for a destination; None if it is dialled without one."""
        return forward_proxy.choose(self._environment, host, port)

    async def connect(self, proxy: Proxy, host: str, port: int, dial: Callable[[str], Awaitable[Streams]]) -> Streams:
        """Connect to a destination through the proxy, which resolves its name.

        Raises:
            DialError: the proxy cannot be dialled, or refuses.

        """
        reader, writer = await dial(str(proxy))
        try:
            async with asyncio.timeout(ANSWER_S):
                writer.write(forward_proxy.connect_request(proxy, host, port))
                answer = ProxyAnswer(proxy)
                while not answer.complete:
                    # A byte behind the answer would be lost, so none is read before the answer is complete.
                    answer.receive(await reader.read(1))
        except (ProxyError, TimeoutError, OSError) as error:
            writer.transport.abort()
            raise DialError(DialFailure.ENDPOINT, str(error) or f"no answer from the proxy {proxy}") from error
        return reader, writer

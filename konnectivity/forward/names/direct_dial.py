"""Direct dials of `konnectivity forward`, for names that the rules leave to this machine: not through the tunnel.

HTTPS_PROXY and NO_PROXY of the environment apply, as for agents. Owns no connection.
"""

from __future__ import annotations

import asyncio
import os

from konnectivity.client.byte_pump import Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of


async def connect(destination: str) -> Streams:
    """Connect to "host:port" from this machine.

    Raises:
        DialError: the destination, or the proxy of the environment, cannot be reached.

    """
    from konnectivity.http1 import forward_proxy  # loaded for direct dials only: it takes memory

    host, port = addresses.split(destination)
    try:
        proxy = forward_proxy.choose(os.environ, host, port)
        if proxy is None:
            return await asyncio.open_connection(host, port)
        return await asyncio.open_connection(sock=await forward_proxy.open_socket(proxy, host, port))
    except (OSError, ValueError) as error:
        text = words_of(error) if isinstance(error, OSError) else str(error)
        raise DialError(DialFailure.ENDPOINT, f"dial {addresses.shown(destination)} directly: {text}") from error

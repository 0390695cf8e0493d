"""Load of a rolling migration: open sessions, failed dials, and HTTP requests to the health port of a server."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing, suppress
from dataclasses import dataclass, field

from konnectivity.client import DialError, Mode, connect

DIAL_S = 30.0  # seconds for one dial, on a busy machine
RETURN_S = 60.0  # seconds until both agents are back with a new server, on a busy machine
ERRORS = (DialError, OSError, EOFError, TimeoutError)


@dataclass
class Session:
    """Open connection through one server and one agent, with an echo every 50 ms."""

    server: str
    agent: str
    echoes: int = 0
    error: str = ""
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, address: str, mode: Mode, target: str) -> None:
        with suppress(asyncio.CancelledError):
            try:
                async with connect(address, mode) as tunnel:
                    reader, writer = await tunnel.dial(target)
                    with closing(writer):
                        while not self.closing.is_set():
                            writer.write(b"session")
                            async with asyncio.timeout(RETURN_S):
                                await reader.readexactly(7)
                            self.echoes += 1
                            await asyncio.sleep(0.05)
            except ERRORS as error:
                self.error = repr(error)


@dataclass
class Failure:
    """Failed dial, with the times of its begin and of its failure."""

    began: float
    failed: float
    server: str
    error: str


@dataclass(frozen=True)
class Stop:
    """Stop of one program, with the times of its SIGTERM and of its end."""

    name: str
    drains: bool  # the program takes no new dials after the SIGTERM, and serves its connections for a while
    told: float
    ended: float

    def cut(self, failure: Failure) -> bool:
        """Return whether the failed dial was in flight when the program ended.

        A program that drains cuts a dial only if that began before the SIGTERM and lasted for the whole drain.
        """
        if self.drains:
            return failure.began < self.told and failure.failed > self.ended
        return failure.server == self.name and failure.began < self.ended and failure.failed > self.told


async def http_get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of the answer to a GET; status 0 means that there was no answer."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
                if "chunked" in head:
                    body = "".join(re.split(r"(?:^|\r\n)[0-9a-f]+\r\n", body))
                return int(head.split()[1]) if head else 0, body
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0, ""

"""A noisy tenant in one process: `python noisy_tenant.py DIRECTORY SERVER_PORT AGENT_PORT NAME SOURCE DIALS_PER_S`.

It stalls a hundred connections, dials a closed port at a steady rate, or (at a rate of 0) as fast as a hundred pending
dials are answered, and lets agents come and go, which the server logs. It begins with a line on the standard output,
and lasts until the process is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from konnectivity.client import DialError, TunnelLost, connect, tls_context
from support.http2_peer import HostilePeer, agent

STALLED = 100
DIALS_AT_ONCE = 100
AGENTS_PER_S = 50


class NoisyTenant:
    """Noise of one tenant.

    Args:
        directory: folder of the tenant's credentials.
        server_port: port for frontends.
        agent_port: port for agents.
        name: TLS server name of the tenant.

    """

    def __init__(self, directory: Path, server_port: int, agent_port: int, name: str) -> None:
        stem = directory / name.partition(".")[0]
        self._files = (str(directory / "ca.crt"), f"{stem}.crt", f"{stem}.key")
        self._server_port = server_port
        self._agent_port = agent_port
        self._name = name

    async def stall(self, source: str, begun: asyncio.Event) -> None:
        """Keep connections to a source of endless data, and read none of it."""
        tls = tls_context(*self._files, "http-connect")
        kept = [await self._stalled(source, tls) for _ in range(STALLED)]
        begun.set()
        await asyncio.Event().wait()
        del kept

    async def _stalled(self, source: str, tls: ssl.SSLContext) -> asyncio.StreamWriter:
        """Return a connection to the source, of which a small buffer is read and no more."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._server_port))
        reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=self._name)
        writer.write(f"CONNECT {source} HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        return writer

    async def dial(self, per_s: int) -> None:
        """Dial at a rate; 0: as fast as DIALS_AT_ONCE pending dials are answered."""
        tls = tls_context(*self._files, "grpc")
        async with connect(f"127.0.0.1:{self._server_port}", "grpc", tls=tls, server_name=self._name) as tunnel:

            async def dial_again() -> None:
                while True:
                    await asyncio.sleep(1 / per_s if per_s else 0)
                    with suppress(DialError, TunnelLost):
                        await tunnel.dial("127.0.0.1:1")

            async with asyncio.TaskGroup() as dials:
                for _ in range(1 if per_s else DIALS_AT_ONCE):
                    dials.create_task(dial_again())

    async def log(self) -> None:
        """Register agents, and leave at once."""
        context = tls_context(*self._files, "grpc")
        for number in itertools.count():
            peer = HostilePeer(
                *await asyncio.open_connection(
                    "127.0.0.1", self._agent_port, ssl=context, server_hostname=self._name, ssl_shutdown_timeout=1
                )
            )
            for each in range(AGENTS_PER_S):
                await peer.call(agent(f"noise-{number}-{each}"))
                await asyncio.sleep(1 / AGENTS_PER_S)
            peer.close()


async def run(directory: str, server_port: str, agent_port: str, name: str, source: str, dials_per_s: str) -> None:
    noise = NoisyTenant(Path(directory), int(server_port), int(agent_port), name)
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(noise.stall(source, begun))
        await begun.wait()
        tasks.create_task(noise.dial(int(dials_per_s)))
        tasks.create_task(noise.log())
        print("noisy", flush=True)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))

"""Certificates and test request for compose.yaml.

`demo.py pki DIRECTORY` writes throwaway certificates for a server called "server" and for an agent.
`demo.py fetch HOST:PORT SOCKET` gets a page through the tunnel, and tries for a minute: nothing waits for the agent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from konnectivity.client import DialError, connect
from konnectivity.tool.pki.authority import Authority

PATIENCE_S = 60
PAUSE_S = 0.2


def pki(directory: str) -> None:
    authority = Authority.create("konnectivity demo CA")
    authority.write(Path(directory))
    authority.issue("proxy-server", dns=("server",), server=True).write(Path(directory), "server")
    authority.issue("proxy-agent", client=True).write(Path(directory), "agent")


async def fetch(address: str, socket: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                print(await _page(address, socket))
                return
            except DialError as error:
                print(f"not yet: {error}", file=sys.stderr)
                await asyncio.sleep(PAUSE_S)


async def _page(address: str, socket: str) -> str:
    async with connect(f"unix:{socket}") as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
    return answer.decode()


if __name__ == "__main__":
    if sys.argv[1] == "pki":
        pki(sys.argv[2])
    else:
        asyncio.run(fetch(*sys.argv[2:4]))

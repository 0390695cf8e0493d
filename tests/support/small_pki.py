"""Small PKI in files and TLS handshakes in memory, for tests of TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from konnectivity.tool.pki.authority import Authority


@dataclass
class Pki:
    """Certificate authority, a server and a client in files; a test may rewrite each of the files."""

    directory: Path

    def __post_init__(self) -> None:
        self.authority = Authority.create("first authority")
        self.ca = str(self.authority.write(self.directory))
        self.server = self.authority.issue("server", dns=["proxy.test"], ips=["127.0.0.1", "::1"], server=True)
        self.client = self.authority.issue("agent", client=True)
        self.server_files = tuple(map(str, self.server.write(self.directory, "server")))
        self.client_files = tuple(map(str, self.client.write(self.directory, "client")))

    def file(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)


class Handshake:
    """Both ends of a TLS connection in memory."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, name: str, session=None) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(up, down, server_side=True)
        self.client = client.wrap_bio(down, up, server_hostname=name, session=session)
        waiting = [self.client, self.server]
        for _ in range(10):
            for end in waiting.copy():
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                waiting.remove(end)
        assert not waiting
        # In TLS 1.3 a client learns only by reading that the server refused it; reading also delivers session tickets.
        self.server.write(b"x")
        assert self.client.read(1) == b"x"

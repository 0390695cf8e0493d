"""Target of probes on loopback that a test breaks and mends: a thread that answers as its mode says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

TIMEOUT_S = 10.0


class FaultyTarget:
    """Listener whose connections are answered by `answer`, which a test replaces.

    Args:
        answer: serves one connection.
    """

    def __init__(self, answer: Callable[[socket.socket], object]) -> None:
        self.answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._kept: list[socket.socket] = []  # connections that are left without an answer
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), name="target")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Refuse every connection from now on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for each in self._kept:
            each.close()
        self._kept.clear()

    def open(self) -> None:
        """Listen again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), name="target")
        self._thread.start()

    def drop(self) -> None:
        """Fill the queue of a listener that accepts nothing, so that the kernel drops further connections."""
        self.close()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=0)
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            self._kept.append(sock)

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.settimeout(TIMEOUT_S)
                with suppress(OSError, ValueError):
                    if self.answer(sock) is silent:
                        self._kept.append(sock)
                        continue
                sock.close()


def accepts(sock: socket.socket) -> None:
    """Accept a connection and wait for its end."""
    sock.recv(1)


def silent(sock: socket.socket) -> object:
    """Accept a connection and answer nothing."""
    return silent


def http(status: int) -> Callable[[socket.socket], None]:
    """Return a server that answers with an HTTP status."""

    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(f"HTTP/1.1 {status} Reason\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


def speaks_tls(certificate: str, key: str) -> Callable[[socket.socket], None]:
    """Return a server that speaks TLS with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as inside:
            inside.recv(1)

    return answer


def dns(code: int) -> Callable[[socket.socket], None]:
    """Return a name server over TCP that answers with a response code."""

    def answer(sock: socket.socket) -> None:
        question = sock.recv(4096)[2:]
        message = question[:2] + struct.pack(">H", 0x8180 | code) + question[4:]
        sock.sendall(struct.pack(">H", len(message)) + message)

    return answer

"""Small requests over real sockets of loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from konnectivity.http1.http_exchange import FetchError
from konnectivity.http1.small_requests import get_blocking

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"


@contextmanager
def peer(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """Start a peer that serves one connection, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            sock, _ = listener.accept()
            with sock:
                serve(sock)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(5)
            assert not thread.is_alive()


def test_the_response_is_returned_whole_and_the_request_names_the_host() -> None:
    requests = []

    def serve(sock: socket.socket) -> None:
        requests.append(sock.recv(1000))
        for at in range(len(WHOLE)):
            sock.sendall(WHOLE[at : at + 1])

    with peer(serve) as address:
        answer = get_blocking(address, "/x", 5.0)
    assert (answer.status, answer.headers, answer.body) == (200, {"content-length": "5", "x-a": "b"}, b"hello")
    assert requests == [f"GET /x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()]


def test_a_peer_that_drips_bytes_has_one_deadline_for_all() -> None:
    gone = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.sendall(WHOLE[:-1])
        while not gone.wait(0.02):
            sock.sendall(b"")  # keeps the connection

    with peer(serve) as address:
        with pytest.raises(TimeoutError):
            get_blocking(address, "/", 0.2)
        gone.set()


def test_a_response_over_the_limit_is_refused() -> None:
    with (
        peer(lambda sock: (sock.recv(1000), sock.sendall(WHOLE))) as address,
        pytest.raises(FetchError, match="longer"),
    ):
        get_blocking(address, "/", 5.0, max_body=4)


def test_nobody_who_listens_is_an_error_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConnectionRefusedError):
        get_blocking(address, "/", 5.0)


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="missing port"):
        get_blocking("localhost", "/", 5.0)

"""Tests of the HTTP CONNECT frontend's answers, byte for byte, to valid and to malformed requests."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time

import pytest

from konnectivity.client import tls_context


def ask(deployment, request, *, half_close=False, timeout=10.0):
    """Send `request` to the unix socket and return all bytes that the server answers until it closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(deployment.socket)
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer


class Echo:
    """Echo target that runs in a thread."""

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.close()

    def _serve(self):
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)


OK = b"HTTP/1.1 200 Connection Established\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n",
        "CONNECT {} HTTP/1.1\r\n\r\n",
        "CONNECT {} HTTP/1.0\r\n\r\n",
        "CONNECT /foo HTTP/1.1\r\nHost: {}\r\n\r\n",
        "CONNECT {} HTTP/1.1\r\nHost: elsewhere:1\r\nUser-Agent: x\r\n\r\n",
        "CONNECT {} HTTP/1.1\nHost: {}\n\n",
        "CONNECT {} HTTP/1.1\n\n",
        "CONNECT {} HTTP/1.0\n\n",
        "CONNECT {} HTTP/1.1\r\nHost: {}\n\n",
        "CONNECT {} HTTP/1.1\nHost: {}\r\n\r\n",
        "CONNECT {} HTTP/1.1\nHost: {}\nUser-Agent: x\n\r\n",
        "CONNECT {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: x\r\n\n",
        "CONNECT {} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_success_has_no_headers_and_forwards_what_was_sent_behind_it(deployment, head):
    with Echo() as target:
        request = head.replace("{}", target.address).encode() + b"early bytes"
        assert ask(deployment, request, half_close=True) == OK + b"early bytes"


def test_the_200_always_comes_first(deployment):
    server = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"

    def greet():
        for _ in range(100):
            sock, _ = server.accept()
            sock.sendall(b"220 I speak first")
            sock.close()

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    for _ in range(100):
        answer = ask(deployment, f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        assert answer == OK + b"220 I speak first"
    thread.join(5)
    server.close()


def test_a_refused_dial(deployment):
    assert ask(deployment, b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n") == (
        b"HTTP/1.1 502 dial tcp 127.0.0.1:9: connect: connection refused\r\n"
        b"Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        b"dial tcp 127.0.0.1:9: connect: connection refused"
    )


def test_no_agent(fresh):
    fresh.start_server()
    assert ask(fresh, b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n") == (
        b"HTTP/1.1 500 No agent available\r\nContent-Type: text/plain\r\n\r\n"
        b"currently no tunnels available: No agent available"
    )


def test_another_method_and_the_connection_stays(deployment):
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = ask(deployment, get + get + b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n")
    date = rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n"
    expected = (
        rb"HTTP/1\.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n"
        rb"X-Content-Type-Options: nosniff\r\n" + date + rb"Content-Length: 45\r\n\r\n"
        rb"this proxy only supports CONNECT passthrough\n"
    )
    assert re.fullmatch(expected * 2 + rb"HTTP/1\.1 502 .*", answer, re.DOTALL)


BAD_400 = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
)


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), BAD_400),
        (b"\x00\xff\xfe garbage", BAD_400),
        (b"this is no http\r\n\r\n", BAD_400),
        (b"CONNECT\r\n\r\n", BAD_400),
        (b"CONNECT a:1\r\n", BAD_400),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", BAD_400),
        (b"\r\n", BAD_400),
        (b"\n\n", BAD_400),
        (b" CONNECT a:1 HTTP/1.1\n\n", BAD_400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nHost: b:1\r\n\r\n", BAD_400),
        (b"CONNECT a:1 HTTP/1.1\r\nbad header\r\n\r\n", BAD_400),
        (b"GET / HTTP/1.1\r\n\r\n", BAD_400 + b": missing required Host header"),
    ],
    ids=[
        "tls",
        "garbage",
        "text",
        "no target",
        "one line",
        "proxy",
        "CRLF",
        "LF",
        "space",
        "two hosts",
        "bad header",
        "no host",
    ],
)
def test_nonsense_is_a_400(deployment, request_bytes, answer):
    assert ask(deployment, request_bytes) == answer


def test_another_version_is_a_505(deployment):
    assert ask(deployment, b"CONNECT a:1 HTTP/3.0\r\n\r\n").startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")


def test_a_header_of_more_than_1_mib_is_a_431(deployment):
    request = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n"
    assert ask(deployment, request).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_head_byte_by_byte(deployment):
    with Echo() as target, socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(deployment.socket)
        for byte in f"CONNECT {target.address} HTTP/1.1\r\nHost: x\r\n\r\n".encode():
            sock.sendall(bytes((byte,)))
            time.sleep(0.001)
        assert sock.recv(100) == OK
        sock.sendall(b"hi")
        assert sock.recv(100) == b"hi"


def test_a_client_that_leaves_during_the_dial_is_noticed(fresh):
    """The agent gives up a dial to a listener whose queue is full as soon as the client of the dial has left."""
    fresh.start_server("-v=4")
    agent = fresh.start_agent("-v=4")
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(fresh.socket)
        sock.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.3)
        assert connecting(agent.pid, port) == 1
    end = time.monotonic() + 2
    while connecting(agent.pid, port) and time.monotonic() < end:
        time.sleep(0.02)
    assert connecting(agent.pid, port) == 0
    assert "Dial failed" not in agent.log
    for filler in [*fillers, full]:
        filler.close()


def connecting(pid, port):
    """Return the number of a process's connections to a port that have not been answered yet (SYN_SENT)."""
    with open(f"/proc/{pid}/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == "02" and row[2].endswith(f":{port:04X}")}
    return sum(1 for inode in inodes if inode in open_inodes(pid))


def open_inodes(pid):
    import os

    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        found.add(link.removeprefix("socket:[").removesuffix("]"))
    return found


def test_the_tcp_frontend_wants_a_client_certificate(deployment):
    tls = ssl.create_default_context(cafile=deployment.path("ca.crt"))
    with socket.create_connection(("127.0.0.1", deployment.server_port), 5) as sock:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with tls.wrap_socket(sock, server_hostname="localhost") as wrapped:
                wrapped.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n")
                if not wrapped.recv(100):
                    raise ConnectionError("closed")


def test_the_tcp_frontend_serves_a_client_without_alpn(deployment):
    tls = tls_context(deployment.path("ca.crt"), deployment.path("client.crt"), deployment.path("client.key"), "grpc")
    tls.set_alpn_protocols([])
    with socket.create_connection(("127.0.0.1", deployment.server_port), 5) as sock:
        with tls.wrap_socket(sock, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wrapped.recv(4096).startswith(b"HTTP/1.1 502 dial tcp ")


def test_everyone_else_is_still_served(deployment):
    with Echo() as target:
        request = f"CONNECT {target.address} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert ask(deployment, request + b"after all that", half_close=True) == OK + b"after all that"

"""HTTP target behind the tunnel, with or without TLS: files, a page of metrics, and a count of connections."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

METRICS = b"# TYPE web_target_up gauge\nweb_target_up 1\n"


class WebTarget(ThreadingHTTPServer):
    """Server of a directory; `/metrics...` is a page for Prometheus, and POST answers with the number of bytes."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, directory: Path, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(directory)))
        self.connections = 0
        self._context = context

    def get_request(self):
        sock, address = super().get_request()
        self.connections += 1
        if self._context is not None:
            try:
                sock.getpeername()  # `wrap_socket` leaves a socket open whose client is gone
            except OSError:
                sock.close()
                raise
            sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request, client_address):
        """Say nothing: clients of these tests leave as they like."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if not self.path.startswith("/metrics"):
            super().do_GET()
            return
        self._answer(METRICS, "text/plain")

    def do_POST(self):
        size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self._answer(b"%d bytes" % size, "text/plain")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        """Print nothing."""


@contextmanager
def web_target(directory: Path, context: ssl.SSLContext | None = None) -> Iterator[WebTarget]:
    """Serve `directory` during the block."""
    server = WebTarget(directory, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

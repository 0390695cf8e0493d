"""Tests of `konnectivity curl` and `konnectivity dial --verbose` as commands, through each of the four frontends."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from konnectivity.tool.pki.authority import Authority

WAYS = [(mode, unix) for mode in ("http-connect", "grpc") for unix in (True, False)]
ways = pytest.mark.parametrize(("mode", "unix"), WAYS, ids=[f"{m}-{'unix' if u else 'mtls'}" for m, u in WAYS])


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, "method": self.command, "headers": dict(self.headers.items())}).encode()
        self._answer(404 if self.path == "/missing" else 200, body)

    def do_POST(self):
        self._answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    do_HEAD = do_GET
    do_PUT = do_POST

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(tls=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def konnectivity(*arguments, stdin=b""):
    command = [sys.executable, "-m", "konnectivity.tool.cli", *arguments]
    done = subprocess.run(command, capture_output=True, input=stdin, timeout=30, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def way(deployment, mode="http-connect", unix=True):
    if unix:
        return [f"--server=unix:{deployment.socket}", f"--mode={mode}"]
    path = deployment.path
    files = [f"--ca-cert={path('ca.crt')}", f"--cert={path('client.crt')}", f"--key={path('client.key')}"]
    return [f"--server=127.0.0.1:{deployment.server_port}", f"--mode={mode}", *files]


@pytest.fixture(scope="module")
def https(tmp_path_factory):
    directory = tmp_path_factory.mktemp("https")
    authority = Authority.create("target CA")
    authority.write(directory)
    names = {"dns": ("target.example",), "ips": ("127.0.0.1",)}
    files = authority.issue("target", **names, server=True).write(directory, "target")
    authority.issue("visitor", client=True).write(directory, "visitor")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    with serving(context) as address:
        yield address, directory


@ways
def test_a_page_over_http(deployment, mode, unix):
    with serving() as address:
        done = konnectivity("curl", f"http://{address}/page?x=1", *way(deployment, mode, unix), "--timings")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["path"], seen["headers"]["Host"]) == ("/page?x=1", address)
    hops = ["connect", "dial", "first byte", "transfer", "total"] if unix else ["connect", "tls", "dial"]
    assert all(f"{hop} " in done.stderr.decode() for hop in hops)


@ways
def test_a_page_over_https_is_verified_inside_the_tunnel(deployment, https, mode, unix):
    address, directory = https
    trusted = f"--cacert={directory / 'ca.crt'}"
    done = konnectivity("curl", f"https://{address}/", trusted, *way(deployment, mode, unix), "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["status"], found["error"], json.loads(found["body"])["path"]) == (200, None, "/")
    assert {"connect", "dial", "target_tls", "first_byte", "transfer", "total"} <= found["milliseconds"].keys()
    parts = [ms for hop, ms in found["milliseconds"].items() if hop != "total"]
    assert found["milliseconds"]["total"] == pytest.approx(sum(parts), abs=0.1)


def test_a_certificate_that_is_not_trusted(deployment, https):
    address, directory = https
    refused = konnectivity("curl", f"https://{address}/", *way(deployment))
    assert refused.returncode == 1
    assert b"the target's certificate is not accepted: self-signed certificate in" in refused.stderr
    assert konnectivity("curl", f"https://{address}/", "-k", *way(deployment)).returncode == 0
    wrong = [f"--cacert={directory / 'ca.crt'}", "--target-name=other.example"]
    refused = konnectivity("curl", f"https://{address}/", *wrong, *way(deployment))
    assert refused.returncode == 1
    assert b"Hostname mismatch" in refused.stderr
    right = [f"--cacert={directory / 'ca.crt'}", "--target-name=target.example"]
    right += [f"--target-cert={directory / 'visitor.crt'}", f"--target-key={directory / 'visitor.key'}"]
    assert konnectivity("curl", f"https://{address}/", *right, *way(deployment)).returncode == 0


def test_method_headers_body_and_head(deployment):
    with serving() as address:
        url = f"http://{address}/"
        posted = konnectivity("curl", url, "-d", "a=1&b=2", *way(deployment))
        assert posted.stdout == b"a=1&b=2"
        put = konnectivity("curl", url, "-X", "put", "-d", "@-", *way(deployment), stdin=b"\x00\xff")
        assert put.stdout == b"\x00\xff"
        kept = konnectivity("curl", url, "-d", "@-", "-o", "yaml", *way(deployment), stdin=b"\x00\xff")
        assert b"body_base64: AP8=" in kept.stdout
        named = konnectivity("curl", url, "-H", "Host: name.example", "-H", "X-Y: z", *way(deployment))
        headers = json.loads(named.stdout)["headers"]
        assert (headers["Host"], headers["X-Y"]) == ("name.example", "z")
        head = konnectivity("curl", url, "-I", *way(deployment))
        assert head.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.stdout.endswith(b"\r\n\r\n")
        verbose = konnectivity("curl", url, "-v", "-H", "Authorization: Bearer secret", *way(deployment))
        assert b"> Authorization: ..." in verbose.stderr
        assert b"< HTTP/1.1 200 OK" in verbose.stderr
        assert b"secret" not in verbose.stderr


def test_exit_codes_say_what_went_wrong(deployment):
    with serving() as address:
        missing = konnectivity("curl", f"http://{address}/missing", *way(deployment))
        assert missing.returncode == 0
        assert konnectivity("curl", f"http://{address}/missing", "--fail", *way(deployment)).returncode == 1
    refused = konnectivity("curl", "http://127.0.0.1:9/", *way(deployment))
    assert refused.returncode == 1
    assert b"connection refused" in refused.stderr
    no_server = konnectivity("curl", "http://127.0.0.1:9/", "--server=unix:/nowhere/at.all")
    assert no_server.returncode == 1
    assert b"cannot reach the proxy server" in no_server.stderr
    for wrong in (["ftp://x/"], ["http://x:y/"], ["http://x/", "-H", "nocolon"], ["http://x/", "-d", "@/nowhere"]):
        done = konnectivity("curl", *wrong, *way(deployment))
        assert done.returncode == 2, wrong
        assert done.stderr.startswith(b"konnectivity curl: ")


def test_a_target_that_says_nothing_or_nonsense(deployment):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        done = konnectivity("curl", url, "--max-time=300ms", *way(deployment))
        assert done.returncode == 1
        assert b"no whole answer in 0.3 s" in done.stderr

    def talk(listener, words):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(words)

    for words, said in (
        (b"SSH-2.0-x\r\n", b"no whole HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"HTTP"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=talk, args=(listener, words))
            thread.start()
            done = konnectivity("curl", f"http://127.0.0.1:{listener.getsockname()[1]}/", *way(deployment))
            thread.join()
        assert done.returncode == 1
        assert said in done.stderr
    with serving() as address:
        done = konnectivity("curl", f"https://{address}/", "-k", *way(deployment))
        assert done.returncode == 1
        assert b"TLS" in done.stderr


@ways
def test_dial_says_how_long_each_hop_took(deployment, mode, unix):
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving() as address:
        done = konnectivity("dial", address, *way(deployment, mode, unix), "--verbose", stdin=request)
    assert done.returncode == 0
    said = done.stderr.decode()
    assert f"connected to {address}" in said
    assert "first byte after" in said
    assert ("tls " in said) != unix
    assert konnectivity("dial", "nonsense", *way(deployment)).returncode == 2
    refused = konnectivity("dial", "127.0.0.1:9", *way(deployment, mode, unix), "--verbose")
    assert refused.returncode == 1
    assert b"came as far as connect " in refused.stderr

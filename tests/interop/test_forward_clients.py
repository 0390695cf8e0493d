"""Tests of the forward proxies with Go programs: net/http by HTTPS_PROXY, and golang.org/x/net/proxy by ALL_PROXY."""

from __future__ import annotations

import ssl

import pytest

from konnectivity.testing.deployment import Deployment, free_port
from support.command_runs import run
from support.forward_process import ForwardProcess
from support.web_target import web_target


@pytest.fixture(scope="module")
def proxies(tmp_path_factory):
    """Yield a deployment, with the addresses of a sidecar and of the forward proxy inside the server."""
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    port = free_port()
    deployment.start_server(f"--forward-port={port}")
    deployment.start_agent()
    yield deployment, (ForwardProcess(deployment).address, f"127.0.0.1:{port}")
    deployment.stop()


@pytest.mark.parametrize("inside", [False, True], ids=["sidecar", "server"])
def test_go_programs_by_their_variables(programs, proxies, tmp_path, inside):
    """Go dials loopback addresses directly, so that the target is named 0.0.0.0 where the variables are net/http's."""
    deployment, addresses = proxies
    (tmp_path / "page").write_bytes(b"hello")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = {"dns": ("localhost",), "ips": ("0.0.0.0",)}
    context.load_cert_chain(*deployment.authority.issue("web", **names, server=True).write(tmp_path, "web"))
    trust = {"SSL_CERT_FILE": deployment.path("ca.crt")}
    proxy = addresses[inside]
    with web_target(tmp_path) as plain, web_target(tmp_path, context) as secure:
        for scheme in ("http", "socks5", "socks5h"):
            variables = {"HTTP_PROXY": f"{scheme}://{proxy}", "HTTPS_PROXY": f"{scheme}://{proxy}", **trust}
            for page in (f"http://0.0.0.0:{plain.server_port}/page", f"https://0.0.0.0:{secure.server_port}/page"):
                assert run(str(programs / "fetch"), "http", page, **variables) == b"hello"
        page = f"https://localhost:{secure.server_port}/page"
        assert run(str(programs / "fetch"), "all", page, ALL_PROXY=f"socks5://{proxy}", **trust) == b"hello"
        assert (plain.connections, secure.connections) == (3, 4)

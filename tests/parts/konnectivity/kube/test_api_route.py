"""Route to the Kubernetes API through a proxy of the kubeconfig: CONNECT, TLS to the proxy, refusals."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from konnectivity.kube import api_route, kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.kube.api_error import KubeError

NAMESPACE = "kube-system"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Return a function that runs a coroutine function on each kind of event loop."""

    def run(main):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main())

    return run


@asynccontextmanager
async def proxy(heads, status="200 OK", context=None, more=b""):
    """Run a CONNECT proxy for the block and yield its port. Heads of requests are appended to `heads`."""
    tasks = set()

    async def copy(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heads.append(head)
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode() + more)
            if status.startswith("2"):
                host, _, port = head.split()[1].rpartition(":")
                up_reader, up_writer = await asyncio.open_connection(host, int(port))
                await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)


def client_of(api, proxy_url):
    path = api.kubeconfig(api.directory / "kubeconfig", cluster=api.cluster(**{"proxy-url": proxy_url}))
    return KubeClient(kubeconfig.load(str(path)), -1.0, timeout_s=5.0)


def test_the_api_is_reached_through_a_proxy_with_one_connection_for_several_requests(api, run):
    async def main():
        heads = []
        async with proxy(heads) as port, client_of(api, f"http://me:p%40ss@127.0.0.1:{port}") as client:
            for _ in range(3):
                await client.list_leases(NAMESPACE)
        (head,) = heads
        assert head.startswith(f"CONNECT 127.0.0.1:{api.port} HTTP/1.1\r\n")
        assert base64.b64encode(b"me:p@ss").decode() in head

    run(main)


def test_a_proxy_may_be_reached_by_tls(api, run, monkeypatch):
    files = api.authority.issue("proxy", ips=("127.0.0.1",), server=True).write(api.directory, "proxy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    trusting = ssl.create_default_context(cafile=str(api.ca_file))
    monkeypatch.setattr(api_route, "proxy_context", lambda: trusting)  # in the place of the system's authorities

    async def main():
        heads = []
        async with proxy(heads, context=context) as port, client_of(api, f"https://127.0.0.1:{port}") as client:
            await client.list_leases(NAMESPACE)
            await client.list_leases(NAMESPACE)
        assert len(heads) == 1

    run(main)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"status": "407 Proxy Authentication Required"}, "refuses: 407 Proxy Authentication Required"),
        ({"status": "502 Bad Gateway"}, "refuses: 502 Bad Gateway"),
        ({"more": b"x"}, "data from the proxy before the tunnel is in use"),
    ],
)
def test_a_proxy_that_refuses_is_named_in_the_error(api, run, how, reason):
    async def main():
        async with proxy([], **how) as port, client_of(api, f"http://127.0.0.1:{port}") as client:
            with pytest.raises(KubeError) as caught:
                await client.list_leases(NAMESPACE)
        assert reason in str(caught.value)
        assert caught.value.reason == "Unreachable"

    run(main)
    assert not api.requests


@pytest.mark.parametrize("url", ["gopher://x", "socks5://x:1080", "http://", "http://x:99999", "//x"])
def test_a_url_that_names_no_proxy_is_refused_at_the_start_without_its_password(api, url):
    url = url.replace("//", "//me:secret@")

    async def main():
        with pytest.raises(KubeError, match="proxy-url") as caught:
            client_of(api, url)
        assert "secret" not in str(caught.value)

    asyncio.run(main())

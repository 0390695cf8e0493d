"""Tests of docs/reference/client.md: every example is run as it stands, but for addresses and names of files."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys

import pytest

from konnectivity.testing.deployment import Deployment, free_port
from support.checkout import DOCS

PAGE = (DOCS / "reference/client.md").read_text()
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PRINTED = {
    "A connection": "HTTP/1.0 200 OK",
    "Over TCP, with mutual TLS": "HTTP/1.0 200 OK",
    "TLS with the target": "HTTP/1.0 200 OK",
    "With httpx": "200 ok",
    "With aiohttp": "200 ok",
    "A socket for other code": "HTTP/1.0 200 OK",
    "Without an event loop": "HTTP/1.0 200 OK",
    "Failures": "DialFailure.ENDPOINT dial tcp 127.0.0.1:",
    "The time of each hop": "{'connect': ",
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    made = Deployment(tmp_path_factory.mktemp("client"))
    made.start_server()
    made.start_agent()
    yield made
    made.stop()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\nok")
    writer.close()


def test_every_example_has_an_output() -> None:
    assert EXAMPLES.keys() == PRINTED.keys()


@pytest.mark.parametrize("title", PRINTED)
async def test_an_example_does_what_the_page_says(deployment, title):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    secure = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    code = EXAMPLES[title]
    for written, here in {
        "unix:/run/konnectivity-server/frontend.sock": f"unix:{deployment.socket}",
        "konnectivity.example:8090": f"localhost:{deployment.server_port}",
        "10.0.0.7:80": f"127.0.0.1:{plain.sockets[0].getsockname()[1]}",
        "10.0.0.7:10250": f"127.0.0.1:{secure.sockets[0].getsockname()[1]}",
        "10.0.0.7:1": f"127.0.0.1:{free_port()}",
        "kubelet-ca.crt": deployment.path("ca.crt"),
        '"ca.crt"': repr(deployment.path("ca.crt")),
        "client.crt": deployment.path("client.crt"),
        "client.key": deployment.path("client.key"),
        "node-1": "localhost",
    }.items():
        code = re.sub(re.escape(written) + r"(?!\d)", here, code)
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, errors = await ran.communicate()
    assert (ran.returncode, errors) == (0, b"")
    assert printed.decode().startswith(PRINTED[title])
    for server in (plain, secure):
        server.close()

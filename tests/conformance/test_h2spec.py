"""Test of our server with h2spec, the public conformance tests of HTTP/2 and HPACK."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from pathlib import Path
from xml.etree import ElementTree

import pytest
import uvloop

from konnectivity.grpc.http2_server import Http2ServerTransport
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.tool.pki.authority import Authority

# Sizes that the tool's cases expect: it sends 20 kB to exceed the largest frame, and opens all permitted streams at
# once.
OPTIONS = TransportOptions(max_frame_size=16_384, max_streams=100)
CASES = 146

EXCEPTIONS: dict[str, str] = {}
"""Cases that our server does not pass: the reason for each. There are none."""


@pytest.fixture(scope="module")
def h2spec() -> str:
    """Return the path of the tool: $H2SPEC, or h2spec on the PATH, or .cache/bin/h2spec."""
    cached = Path(__file__).parents[2] / ".cache" / "bin" / "h2spec"
    found = os.environ.get("H2SPEC") or shutil.which("h2spec") or shutil.which(cached)
    if found is None:
        pytest.skip(
            "h2spec is not installed: tests/conformance/install_h2spec.sh, "
            "or go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
        )
    return found


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    identity = Authority.create("test authority").issue("server", ips=["127.0.0.1"], server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity.write(tmp_path, "server"))
    context.set_alpn_protocols(["h2"])
    return context


async def run(h2spec: str, report: Path, tls: ssl.SSLContext | None) -> str:
    """Run the tool against a server of ours and return its output."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http2ServerTransport(OPTIONS, services={}), "127.0.0.1", 0, ssl=tls)
    async with server:
        port = str(server.sockets[0].getsockname()[1])
        arguments = ["--strict", "-h", "127.0.0.1", "-p", port, "--timeout", "2", "-j", str(report)]
        if tls is not None:
            arguments += ["--tls", "--insecure"]
        process = await asyncio.create_subprocess_exec(
            h2spec, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return output.decode()


def verdicts(report: Path) -> list[tuple[str, bool]]:
    """Return whether each case passed, by its section and title; a skipped case did not pass."""
    return [
        (
            f"{case.get('package')}: {case.get('classname')}",
            all(case.find(bad) is None for bad in ("failure", "error", "skipped")),
        )
        for case in ElementTree.parse(report).iter("testcase")
    ]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.timeout(600)
def test_h2spec(h2spec: str, tmp_path: Path, server_tls: ssl.SSLContext, secure: bool) -> None:
    report = tmp_path / "h2spec.xml"
    output = uvloop.run(run(h2spec, report, server_tls if secure else None))
    cases = verdicts(report)
    assert len(cases) == CASES, output
    not_passed = {name for name, passed in cases if not passed}
    assert not_passed == EXCEPTIONS.keys(), output.partition("Failures:")[2]

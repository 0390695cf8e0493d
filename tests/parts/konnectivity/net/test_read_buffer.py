"""Read buffers of two threads with real connections."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import uvloop

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment
from support import targets
from support.targets import listening

SIZE = 10_000_000


async def echoed(frontend, data):
    """Send bytes through the tunnel and return the bytes that arrive back."""
    async with listening(targets.echo) as address, connect(**frontend) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(data)
        came = await asyncio.wait_for(reader.readexactly(len(data)), 30)
        writer.close()
        await writer.wait_closed()
        return came


def test_clients_in_two_threads_read_each_its_own(tmp_path):
    deployment = Deployment(tmp_path)
    try:
        deployment.start_server()
        deployment.start_agent()
        sent = [letter * SIZE for letter in (b"a", b"b")]
        with ThreadPoolExecutor(2) as threads:
            came = [threads.submit(uvloop.run, echoed(deployment.frontend("grpc", unix=True), each)) for each in sent]
            assert [each.result(60) == data for each, data in zip(came, sent, strict=True)] == [True, True]
    finally:
        deployment.stop()

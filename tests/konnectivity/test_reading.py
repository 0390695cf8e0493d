"""The memory that sockets read into."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import uvloop

from konnectivity import reading
from konnectivity.client import connect
from konnectivity.testing import targets
from konnectivity.testing.deployment import Deployment
from konnectivity.testing.targets import listening

SIZE = 10_000_000


def test_a_thread_has_one():
    assert reading.buffer().obj is reading.buffer().obj
    assert len(reading.buffer()) == reading.SIZE


def test_threads_do_not_share_it():
    other = []
    thread = threading.Thread(target=lambda: other.append(reading.buffer()))
    thread.start()
    thread.join()
    assert other[0].obj is not reading.buffer().obj


async def echoed(frontend, data):
    """What comes back of it through the tunnel."""
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

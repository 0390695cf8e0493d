"""Network of the peer servers: a name is looked up once for all who ask for it, and its changes are news to all."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity_server.peers.address_book import PeerAddress
from konnectivity_server.peers.peer_network import RESOLVE_INTERVAL_S, PeerNetwork


class Resolver:
    def __init__(self):
        self.asked = 0
        self.answer = OSError("no resolver")

    async def __call__(self, host, port):
        self.asked += 1
        await asyncio.sleep(0.01)
        return (
            self.answer
            if isinstance(self.answer, Exception)
            else [PeerAddress(host, port, each) for each in self.answer]
        )


async def test_a_name_is_looked_up_once_and_its_change_is_news_to_all():
    resolver = Resolver()
    network = PeerNetwork(None, resolver)
    keeping = asyncio.create_task(network.keep_names())
    for _ in range(2):
        with pytest.raises(OSError, match="no resolver"):
            await network.resolve("peers", 1)
    resolver.answer = ["10.0.0.1"]
    await asyncio.gather(*(network.news.wait() for _ in range(100)))
    asked = resolver.asked
    found = await asyncio.gather(*(network.resolve("peers", 1) for _ in range(100)))
    assert found == [[PeerAddress("peers", 1, "10.0.0.1")]] * 100
    assert asked == resolver.asked == 2
    waiting = asyncio.create_task(network.news.wait())
    resolver.answer = OSError("no resolver")
    await asyncio.sleep(3 * RESOLVE_INTERVAL_S)
    assert await network.resolve("peers", 1) == found[0], "an error changes nothing"
    assert not waiting.done()
    resolver.answer = ["10.0.0.1", "10.0.0.2"]
    await waiting
    assert len(await network.resolve("peers", 1)) == 2
    keeping.cancel()


async def test_the_path_of_a_unix_socket_is_its_own_address():
    assert await PeerNetwork(None).resolve("/run/a.sock", 0) == [PeerAddress("/run/a.sock", 0, "/run/a.sock")]

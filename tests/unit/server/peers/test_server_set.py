"""Server set in memory: its size by the option, by leases and by peer servers, and the agents informed of it."""

from __future__ import annotations

from dataclasses import replace

from konnectivity.grpc.metadata import Metadata
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.peer_network import PeerNetwork
from konnectivity_server.peers.server_set import ServerSet
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker
from support.memory_streams import stream_pair


class Site:
    def __init__(self, count=1, worker=None):
        self.counts = []
        self.trouble = None
        self.servers = ServerSet(
            replace(ServerOptions(), server_count=count),
            "own",
            MemoryBudget(),
            lambda dial: None,
            lambda tunnel: None,
            lambda: self.trouble,
            self.counts.append,
            worker,
            None if worker is None else PeerNetwork(None),
        )

    def peer(self, server_id):
        """Connect another server to this one."""
        stream = stream_pair()[0]
        stream.metadata = Metadata([("serverid", server_id), *TunnelOptions().offer().items()])
        stream.receiver = self.servers.service.connect(stream)
        return stream


WORKER = Worker(1, 3, "/tmp/nowhere", -1, 0)


async def test_a_server_alone_counts_as_configured():
    site = Site(2)
    assert (site.servers.count, site.servers.usable) == (2, False)
    assert list(site.servers.loops()) == []
    site.servers.drain()
    site.servers.agents_changed()
    assert site.counts == []


async def test_every_worker_counts_as_a_server():
    site = Site(2, WORKER)
    assert site.servers.count == 6
    assert [kind for _, kind in site.servers.loops()] == ["peers"]


async def test_more_peer_servers_than_configured_are_counted_and_told_once():
    site = Site(1, replace(WORKER, count=1))
    first = site.peer("one")
    site.peer("two")
    assert (site.servers.count, site.counts) == (3, [2, 3])
    site.peer("two")  # a second tunnel from the same server
    assert site.counts == [2, 3]
    first.abort("gone")
    assert site.counts == [2, 3, 2]


async def test_fewer_peer_servers_than_configured_change_nothing():
    site = Site(5, replace(WORKER, count=1))
    site.peer("one")
    assert (site.servers.count, site.counts) == (5, [])


async def test_peer_servers_are_told_when_agents_answer_and_when_they_do_not():
    site = Site(1, WORKER)
    stream = site.peer("one")
    said = len(stream.other.inbox)
    site.servers.agents_changed()
    assert len(stream.other.inbox) == said  # nothing new
    site.trouble = "no proxy agent answers"
    site.servers.agents_changed()
    assert len(stream.other.inbox) == said + 1
    site.servers.drain()
    assert len(stream.other.inbox) == said + 2

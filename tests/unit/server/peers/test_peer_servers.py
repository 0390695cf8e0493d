"""Peer servers in memory: tunnels to the other servers of a set, their service, and the number of servers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.tunnel.heartbeat import SUSPECT_AFTER_S
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.peer_network import PeerAddress
from konnectivity_server.peers.peer_servers import KNOWN_PAUSE_S, LAST_PAUSE_S, RESOLVE_INTERVAL_S, PeerServers
from konnectivity_server.peers.peer_service import PeerService
from support.memory_streams import MemoryStream, stream_pair

HEARTBEAT_S = 10.0
LOGGER = "konnectivity_server.peers.peer_servers"


class PeerStream(MemoryStream):
    """Client's end of a stream to a peer service; the end delivers to the service and answers pings."""

    silent_since = None

    @property
    def heard_at(self):
        return asyncio.get_running_loop().time() if self.silent_since is None else self.silent_since

    async def accepted(self):
        await asyncio.sleep(0.01)
        return self.metadata


class Channel:
    """Connection to a peer service in memory."""

    def __init__(self, service):
        self.service = service
        self.streams = []

    def open_stream(self, path, metadata, receiver):
        near, far = PeerStream("near"), stream_pair()[1]
        near.other, far.other = far, near
        near.receiver = receiver
        far.metadata = Metadata(list(metadata.items()))
        answer = {}
        far.accept = answer.update
        far.receiver = self.service.connect(far)
        near.metadata = Metadata(list(answer.items()))
        self.streams.append((near, far))
        asyncio.get_running_loop().call_soon(self._deliver, near)
        return near

    def _deliver(self, near):
        near.receiver.call_accepted(near.metadata)
        near.deliver()

    def close(self, reason=""):
        for near, _ in self.streams:
            near.abort(reason)


class Server:
    """Peer service of another server."""

    def __init__(self, server_id):
        self.ready = True
        self.changes = 0
        self.service = PeerService(lambda dial: None, TunnelOptions(), server_id, lambda: self.ready, self._changed)

    def _changed(self):
        self.changes += 1

    def announce(self):
        self.service.announce()
        for tunnel in self.service.tunnels:
            tunnel.stream.other.deliver()


class MemoryNetwork:
    """Addresses behind one name, and the servers there."""

    def __init__(self):
        self.servers = {}
        self.tries = []
        self.error = None

    async def resolve(self, host, port):
        if self.error is not None:
            raise self.error
        return [PeerAddress(host, port, ip) for ip in self.servers]

    async def connect(self, address):
        self.tries.append(address.ip)
        if self.servers.get(address.ip) is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return Channel(self.servers[address.ip].service)


class Site:
    def __init__(self):
        self.network = MemoryNetwork()
        self.suspects = []
        self.changes = 0
        options = TunnelOptions(clock=asyncio.get_running_loop().time)
        self.peers = PeerServers(
            [("servers", 8133)], self.network, "own", options, HEARTBEAT_S, self._changed, self.suspects.append
        )

    def _changed(self):
        self.changes += 1


@asynccontextmanager
async def running(site):
    task = asyncio.create_task(site.peers.run())
    await asyncio.sleep(1.0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def site():
    return Site()


async def test_a_tunnel_to_every_other_server_behind_a_name(site):
    site.network.servers = {"10.0.0.1": Server("one"), "10.0.0.2": Server("two"), "10.0.0.3": Server("own")}
    async with running(site):
        assert set(site.peers.tunnels) == {"one", "two"}
        assert site.peers.usable
        assert {site.peers.pick().server_id for _ in range(50)} == {"one", "two"}
        one, two = (site.peers.tunnels[name] for name in ("one", "two"))
        assert site.peers.pick([one]) is two
        assert site.peers.pick([one, two]) is None
    assert not site.network.servers["10.0.0.3"].service.server_ids  # a server is not its own peer


async def test_a_server_whose_agents_do_not_answer_gets_no_dials(site):
    other = site.network.servers["10.0.0.1"] = Server("one")
    other.ready = False
    async with running(site):
        assert (set(site.peers.tunnels), site.peers.usable, site.peers.pick()) == ({"one"}, False, None)
        other.ready = True
        other.announce()
        assert site.peers.usable
        other.service.drain()
        site.peers.tunnels["one"].stream.deliver()
        assert not site.peers.usable


async def test_a_server_that_appears_later_is_found(site):
    async with running(site):
        assert not site.peers.tunnels
        site.network.servers["10.0.0.1"] = Server("one")
        await asyncio.sleep(RESOLVE_INTERVAL_S + 1)
        assert set(site.peers.tunnels) == {"one"}


async def test_a_name_that_cannot_be_resolved_now_keeps_its_known_addresses(site):
    site.network.servers["10.0.0.1"] = Server("one")
    async with running(site):
        site.network.error = OSError("no resolver")
        await asyncio.sleep(10 * RESOLVE_INTERVAL_S)
        assert set(site.peers.tunnels) == {"one"}


async def test_a_server_that_is_gone_is_tried_again_after_pauses_and_logged_once(site, caplog):
    site.network.servers["10.0.0.1"] = None
    async with running(site):
        await asyncio.sleep(120.0)
        assert 20 <= len(site.network.tries) <= 40
        lines = [record for record in caplog.records if record.name == LOGGER]
        assert [line.fields["peer"] for line in lines] == ["servers:8133"]
        site.network.servers["10.0.0.1"] = Server("one")
        await asyncio.sleep(2 * LAST_PAUSE_S)
        assert set(site.peers.tunnels) == {"one"}


async def test_the_end_of_a_tunnel_is_noticed_and_the_server_connected_again(site):
    other = site.network.servers["10.0.0.1"] = Server("one")
    async with running(site):
        site.peers.tunnels["one"].stream.abort("gone")
        assert not site.peers.tunnels
        await asyncio.sleep(LAST_PAUSE_S)
        assert set(site.peers.tunnels) == {"one"}
        assert other.service.server_ids == {"own"}
    assert other.service.server_ids == set()
    assert other.changes == 4


async def test_a_second_address_of_a_connected_server_is_tried_seldom(site):
    both = Server("one")
    site.network.servers = {"10.0.0.1": both, "10.0.0.2": both}
    async with running(site):
        await asyncio.sleep(4 * KNOWN_PAUSE_S)
        assert 5 <= len(site.network.tries) <= 6


async def test_a_silent_server_is_reported_and_its_successor_replaces_it(site):
    first, second = Server("one"), Server("one")
    site.network.servers = {"10.0.0.1": first, "10.0.0.2": second}
    async with running(site):
        old = site.peers.tunnels["one"]
        old.stream.silent_since = asyncio.get_running_loop().time()
        await asyncio.sleep(HEARTBEAT_S + SUSPECT_AFTER_S + LAST_PAUSE_S)
        assert site.suspects == [old]
        new = site.peers.tunnels["one"]
        assert new is not old
        old.stream.silent_since = None  # the peer was only slow
        await asyncio.sleep(1.0)
        assert old.closed  # the tunnel has no connections
        assert site.peers.tunnels["one"] is new


# ---- the service ----------------------------------------------------------------------------------------------------


async def test_a_client_that_is_no_server_of_the_set_is_refused():
    service = Server("one").service
    offer = TunnelOptions().offer()
    for headers in ({}, {"serverid": "x"}, offer):
        stream = stream_pair()[0]
        stream.metadata = Metadata(list(headers.items()))
        with pytest.raises(RpcError) as caught:
            service.connect(stream)
        assert caught.value.status.code is Code.FAILED_PRECONDITION
    assert not service.tunnels

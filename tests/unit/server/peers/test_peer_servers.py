"""Peer servers in memory: tunnels to the other servers of a set, their service, and the number of servers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.tunnel.heartbeat import SUSPECT_AFTER_S
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.address_attempts import KNOWN_PAUSE_S, LAST_PAUSE_S, REFUSED_PAUSE_S
from konnectivity_server.peers.address_book import AT_ONCE, AddressBook, PeerAddress
from konnectivity_server.peers.peer_network import RESOLVE_INTERVAL_S
from konnectivity_server.peers.peer_servers import PeerServers
from konnectivity_server.peers.peer_service import PeerService
from support.memory_streams import MemoryStream, stream_pair

HEARTBEAT_S = 10.0
LOGGERS = ("konnectivity_server.peers.peer_servers", "konnectivity_server.peers.address_attempts")


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

    def __init__(self, server_id, tenant=""):
        self.ready = True
        self.changes = 0
        self.service = PeerService(
            lambda dial: None, TunnelOptions(), server_id, lambda: self.ready, self._changed, tenant
        )

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
        self.book = AddressBook(asyncio.get_running_loop().time)

    async def resolve(self, host, port):
        if self.error is not None:
            raise self.error
        return [PeerAddress(host, port, ip) for ip in self.servers]

    @property
    def news(self):
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(RESOLVE_INTERVAL_S, event.set)
        return event

    async def connect(self, address, options):
        self.tries.append(address.ip)
        if self.servers.get(address.ip) is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return Channel(self.servers[address.ip].service)


class Site:
    def __init__(self, network=None, tenant=""):
        self.network = network or MemoryNetwork()
        self.suspects = []
        self.changes = 0
        options = TunnelOptions(clock=asyncio.get_running_loop().time)
        self.peers = PeerServers(
            [("servers", 8133)],
            self.network,
            "own",
            options,
            HEARTBEAT_S,
            self._changed,
            self.suspects.append,
            None,
            tenant,
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
        lines = [record for record in caplog.records if record.name in LOGGERS]
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


async def test_the_successor_at_the_address_of_a_server_that_drains_gets_a_tunnel_and_the_old_one_lives_on(
    site, caplog
):
    """A tenant that is served anew has the server's id and address; its connections of before may end in peace."""
    before = site.network.servers["10.0.0.1"] = Server("one")
    async with running(site):
        old = site.peers.tunnels["one"]
        before.service.drain()
        old.stream.deliver()
        await asyncio.sleep(1.0)
        assert site.peers.tunnels["one"] is old  # the draining server refuses a second tunnel
        assert not [line for line in caplog.records if line.name in LOGGERS]
        site.network.servers["10.0.0.1"] = Server("one")
        await asyncio.sleep(2 * LAST_PAUSE_S)
        assert site.peers.tunnels["one"] is not old
        assert site.peers.usable
        assert not old.closed
    assert old.closed


# ---- many tenants, one network --------------------------------------------------------------------------------------


@asynccontextmanager
async def tenants(network, names):
    sites = [Site(network, name) for name in names]
    async with AsyncExitStack() as stack:
        running = [asyncio.create_task(each.peers.run()) for each in sites]
        stack.callback(lambda: [task.cancel() for task in running])
        await asyncio.sleep(1.0)
        yield sites


NAMES = [f"t{number}" for number in range(50)]


async def test_tenants_try_an_address_without_a_server_one_after_the_other_and_share_the_line_about_it(caplog):
    network = MemoryNetwork()
    network.servers["10.0.0.1"] = None
    async with tenants(network, NAMES):
        await asyncio.sleep(60.0)
        assert len(network.tries) < 6 * 60  # without the gate: 50 tenants, every 5 s
        assert [line.fields["peer"] for line in caplog.records if line.name in LOGGERS] == ["servers:8133"]


async def test_the_address_of_this_server_itself_is_tried_for_all_tenants_together():
    network = MemoryNetwork()
    network.servers["10.0.0.1"] = Server("own")
    async with tenants(network, [""] * 50):
        await asyncio.sleep(4 * KNOWN_PAUSE_S)
        assert len(network.tries) <= AT_ONCE + 5


async def test_tunnels_to_one_address_are_opened_a_few_at_a_time():
    network, most = MemoryNetwork(), [0, 0]
    network.servers["10.0.0.1"] = Server("one")
    connect = network.connect

    async def slow(address, options):
        most[0] += 1
        most[1] = max(most)
        await asyncio.sleep(0.1)
        most[0] -= 1
        return await connect(address, options)

    network.connect = slow
    async with tenants(network, [""] * 50) as sites:
        await asyncio.sleep(2.0)
        assert most[1] == AT_ONCE
        assert all(each.peers.usable for each in sites)


async def test_a_refused_tenant_waits_longer_and_tries_at_once_when_its_peer_server_connects():
    network = MemoryNetwork()
    network.servers["10.0.0.1"] = Server("one", "other")
    async with tenants(network, ["a"]) as (site,):
        await asyncio.sleep(300.0)
        assert 15 < len(network.tries) < 25
        network.servers["10.0.0.1"] = Server("one", "a")
        site.peers.look_again()
        await asyncio.sleep(0.1)
        assert set(site.peers.tunnels) == {"one"}
        assert REFUSED_PAUSE_S > LAST_PAUSE_S


async def test_the_loss_of_a_server_is_one_line_for_all_tenants(caplog):
    network = MemoryNetwork()
    other = network.servers["10.0.0.1"] = Server("one")
    caplog.set_level("INFO")
    async with tenants(network, [""] * 20) as sites:
        for tunnel in list(other.service.tunnels):
            tunnel.stream.other.abort("gone")
        assert not any(each.peers.tunnels for each in sites)
        await asyncio.sleep(LAST_PAUSE_S)
    lines = [line.getMessage() for line in caplog.records if line.name in LOGGERS]
    assert [line.split(" peer=")[0] for line in lines[:3]] == [
        "Connected to peer",
        "Peer connection ended",
        "Connected to peer",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ("a", "", "without --tenants"),
        ("", "a", "one tenant"),
        ("a", "b", "another one"),
    ],
)
async def test_servers_that_mean_different_tenants_refuse_each_other(ours, theirs, reason, caplog):
    network = MemoryNetwork()
    network.servers["10.0.0.1"] = Server("one", theirs)
    async with tenants(network, [ours]) as (site,):
        assert not site.peers.tunnels
    assert [reason in line.fields["reason"] for line in caplog.records if line.name in LOGGERS] == [True]


async def test_an_answer_that_names_no_tenant_is_refused(caplog):
    """A server of before knows no tenants, and would dial through the agents of its own cluster."""
    network = MemoryNetwork()
    network.servers["10.0.0.1"] = Server("one")

    async def connect(address, options):
        channel = Channel(network.servers["10.0.0.1"].service)
        open_stream = channel.open_stream
        channel.open_stream = lambda path, metadata, receiver: open_stream(
            path, {key: value for key, value in metadata.items() if key != "tenant"}, receiver
        )
        return channel

    network.connect = connect
    async with tenants(network, ["a"]) as (site,):
        assert not site.peers.tunnels
    reasons = [line.fields["reason"] for line in caplog.records if line.name in LOGGERS]
    assert ["for another tenant, or for none" in reason for reason in reasons] == [True]


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

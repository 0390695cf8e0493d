"""The look once a second: what counts as stalled, and the last minutes of numbers."""

from __future__ import annotations

from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.states import EXTENDED
from konnectivity_server.api.traffic_samples import SAMPLES, STALLED_S, Ring, Stalls


class Line:
    """The tunnel side of links: sends nowhere."""

    congested = False

    def __init__(self):
        self.ledger = MemoryBudget()
        self.connections = {}

    def activate(self, link):
        link.take_turn(1 << 20)

    def __getattr__(self, name):
        return lambda *_: None


class Client:
    """The local side: takes what it is told to."""

    def __init__(self):
        self.waiting = 0

    def write(self, data):
        self.waiting += len(data)
        return False

    def buffered(self):
        return self.waiting

    def __getattr__(self, name):
        return lambda *_: None


def connected(credit=64 * 1024):
    line = Line()
    link = line.connections[1] = Connection(1, line, EXTENDED, True, credit, sides.CLIENT, sides.SERVER)
    link.endpoint = Client()
    return line, link


def test_a_client_that_reads_nothing_stalls_after_a_while():
    line, link = connected()
    stalls = Stalls()
    link.stalled_at = 10.0
    link.peer_data(memoryview(bytes(1000)))
    stalls.look([line], 10.5)
    assert stalls.of(link, 11.0) is None
    stalls.look([line], 11.5)
    stalls.look([line], 12.5)
    assert stalls.of(link, 12.5) == ("client", 2.5)
    assert stalls.counts(12.5) == {"client": 1, "destination": 0}
    link.endpoint.waiting = 0
    link.local_drained()
    assert stalls.of(link, 13.0) is None
    assert stalls.counts(13.5) == {"client": 0, "destination": 0}


def test_a_client_that_reads_slowly_does_not():
    line, link = connected()
    stalls = Stalls()
    link.stalled_at = 10.0
    link.peer_data(memoryview(bytes(10_000)))
    for second in range(60):
        stalls.look([line], 11.0 + second)
        assert stalls.of(link, 11.0 + second) is None
        link.endpoint.waiting -= 1
    for second in range(60, 65):
        stalls.look([line], 11.0 + second)
    assert stalls.of(link, 75.0).side == "client"
    assert stalls.of(link, 75.0).seconds == 4.0


def test_a_destination_that_takes_nothing_uses_up_its_credit():
    line, link = connected(credit=1000)
    stalls = Stalls()
    link.starved_at = 1.0  # a tunnel's to write down
    link.local_data(bytes(1000))  # as much as it may: a socket that reads no more than that has nothing queued
    stalls.look([line], 1.0)
    assert stalls.of(link, 1.0) is None
    assert stalls.of(link, 1.0 + STALLED_S) == ("destination", STALLED_S)
    link.peer_credit(500)
    assert stalls.of(link, 4.0) is None
    link.local_data(bytes(500))
    stalls.look([line], 5.0)
    assert stalls.of(link, 6.0) is None, "it took something since"


def test_the_side_that_waits_longer_is_named():
    line, link = connected(credit=1000)
    stalls = Stalls()
    link.stalled_at, link.starved_at = 5.0, 4.0
    link.local_data(bytes(1000))
    link.peer_data(memoryview(bytes(10)))
    stalls.look([line], 4.0)
    stalls.look([line], 8.0)
    assert stalls.of(link, 8.0) == ("destination", 4.0)
    assert stalls.counts(8.0) == {"client": 0, "destination": 1}


def test_a_ring_forgets_the_oldest():
    ring = Ring()
    assert ring.last(3) == [0, 0, 0]
    for number in range(SAMPLES + 7):
        ring.add(number)
    assert ring.last(3) == [SAMPLES + 4, SAMPLES + 5, SAMPLES + 6]
    assert ring.last(SAMPLES) == list(range(7, SAMPLES + 7))
    assert ring.last(0) == []
    ring.add(10**15)
    assert ring.last(1) == [10**15]

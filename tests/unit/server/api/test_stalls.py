"""Stalled connections: the side that accepts no data, and the duration of the stall."""

from __future__ import annotations

from konnectivity.tunnel.connection import Connection
from konnectivity_server.api.stalls import STALLED_S, Stalls
from support.still_tunnel_side import StillLocalSide, StillTunnelSide


def connected(credit: int = 64 * 1024) -> tuple[StillTunnelSide, Connection, StillLocalSide]:
    tunnel, client = StillTunnelSide(), StillLocalSide()
    connection = tunnel.open(credit)
    connection.attach(client)
    client.blocked = True
    return tunnel, connection, client


def test_a_client_that_reads_nothing_stalls_after_a_while():
    tunnel, connection, client = connected()
    stalls = Stalls()
    tunnel.now = 10.0
    connection.inbound.receive(memoryview(bytes(1000)))
    stalls.look([tunnel], 10.5)
    assert stalls.of(connection, 11.0) is None
    stalls.look([tunnel], 11.5)
    stalls.look([tunnel], 12.5)
    assert stalls.of(connection, 12.5) == ("client", 2.5)
    assert stalls.counts(12.5) == {"client": 1, "destination": 0}
    client.kept = 0
    connection.inbound.local_drained()
    assert stalls.of(connection, 13.0) is None
    assert stalls.counts(13.5) == {"client": 0, "destination": 0}


def test_a_client_that_reads_slowly_does_not():
    tunnel, connection, client = connected()
    stalls = Stalls()
    tunnel.now = 10.0
    connection.inbound.receive(memoryview(bytes(10_000)))
    for second in range(60):
        stalls.look([tunnel], 11.0 + second)
        assert stalls.of(connection, 11.0 + second) is None
        client.kept -= 1
    for second in range(60, 65):
        stalls.look([tunnel], 11.0 + second)
    assert stalls.of(connection, 75.0).side == "client"
    assert stalls.of(connection, 75.0).seconds == 4.0


def test_a_destination_that_takes_nothing_uses_up_its_credit():
    tunnel, connection, _ = connected(credit=1000)
    stalls = Stalls()
    tunnel.now = 1.0
    connection.outbound.send(bytes(1000))  # all of the credit: a socket that reads no more has nothing queued
    stalls.look([tunnel], 1.0)
    assert stalls.of(connection, 1.0) is None
    assert stalls.of(connection, 1.0 + STALLED_S) == ("destination", STALLED_S)
    connection.outbound.add_credit(500)
    assert stalls.of(connection, 4.0) is None
    connection.outbound.send(bytes(500))
    stalls.look([tunnel], 5.0)
    assert stalls.of(connection, 6.0) is None, "it took something since"


def test_the_side_that_waits_longer_is_named():
    tunnel, connection, _ = connected(credit=1000)
    stalls = Stalls()
    tunnel.now = 4.0
    connection.outbound.send(bytes(1000))
    tunnel.now = 5.0
    connection.inbound.receive(memoryview(bytes(10)))
    stalls.look([tunnel], 4.0)
    stalls.look([tunnel], 8.0)
    assert stalls.of(connection, 8.0) == ("destination", 4.0)
    assert stalls.counts(8.0) == {"client": 0, "destination": 1}

"""Bridge of two connections: data that arrives on one leaves on the other."""

from __future__ import annotations

from konnectivity.tunnel.bridge import Bridge
from konnectivity.tunnel.connection import Connection
from konnectivity.wire import packet_types
from support.still_tunnel_side import StillTunnelSide


def bridged(credit: int = 1 << 20) -> tuple[StillTunnelSide, Connection, Bridge]:
    """Return a connection, its tunnel, and a bridge to the connection."""
    tunnel = StillTunnelSide()
    connection = tunnel.open(credit)
    return tunnel, connection, Bridge(connection)


def test_data_goes_on_and_the_answer_is_whether_there_is_room_for_more() -> None:
    tunnel, _, bridge = bridged(credit=10)
    assert bridge.write(b"data")
    assert bridge.buffered() == 0
    assert not bridge.write(b"more data")
    assert tunnel.payload() == b"datamore d"
    assert bridge.buffered() == 3


def test_the_end_of_data_is_passed_on_and_leaves_the_other_direction_open() -> None:
    tunnel, connection, bridge = bridged()
    bridge.write_eof()
    assert [each.type for each in tunnel.packets] == [packet_types.DATA_END]
    assert not connection.closed
    assert connection.progress() == (0, 0)


def test_a_close_is_passed_on_as_a_close() -> None:
    tunnel, connection, bridge = bridged()
    bridge.close()
    assert packet_types.RESET not in [each.type for each in tunnel.packets]
    assert connection.reason == "closed by the local side"


def test_an_abort_is_passed_on_with_its_reason() -> None:
    tunnel, connection, bridge = bridged()
    bridge.abort("broken")
    assert [(each.type, each.reason) for each in tunnel.packets] == [(packet_types.RESET, "broken")]
    assert connection.closed


def test_credit_flows_again_only_when_the_other_connection_may_send() -> None:
    tunnel, connection, bridge = bridged(credit=10)
    near = tunnel.open()
    near.attach(bridge)
    connection.attach(Bridge(near))
    near.inbound.receive(memoryview(bytes(40_000)))  # more than the credit of the connection that it goes to
    assert near.inbound.blocked
    bridge.watch(7)
    assert near.inbound.blocked
    connection.outbound.add_credit(100_000)
    assert not near.inbound.blocked
    assert [each.size for each in tunnel.packets if each.type == packet_types.CREDIT] == [40_000]

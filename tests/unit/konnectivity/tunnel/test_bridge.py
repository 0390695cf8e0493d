"""Bridge of two connections: data that arrives on one leaves on the other."""

from __future__ import annotations

import pytest

from konnectivity.tunnel.bridge import Bridge


class Direction:
    """Outbound and inbound direction of a connection that records its calls."""

    def __init__(self, calls):
        self.calls = calls
        self.queued = 42
        self.room = True

    def send(self, data):
        self.calls.append(("send", data))
        return self.room

    def local_drained(self):
        self.calls.append("drained")


class Other:
    """Second connection, which records its calls."""

    def __init__(self):
        self.calls = []
        self.outbound = self.inbound = Direction(self.calls)

    def local_end(self):
        self.calls.append("end")

    def local_gone(self):
        self.calls.append("gone")

    def local_lost(self, reason):
        self.calls.append(("lost", reason))


@pytest.mark.parametrize("room", [True, False])
def test_data_goes_on_and_the_answer_is_whether_there_is_room_for_more(room):
    other = Other()
    other.outbound.room = room
    assert Bridge(other).write(b"data") is room
    assert other.calls == [("send", b"data")]
    assert Bridge(other).buffered() == 42


def test_each_way_to_end_is_passed_on_as_what_it_is():
    other = Other()
    bridge = Bridge(other)
    bridge.write_eof()
    bridge.close()
    bridge.abort("broken")
    assert other.calls == ["end", "gone", ("lost", "broken")]


def test_credit_flows_again_only_when_the_other_connection_may_send():
    other = Other()
    bridge = Bridge(other)
    bridge.pause()
    bridge.watch(7)
    assert other.calls == []
    bridge.resume()
    assert other.calls == ["drained"]

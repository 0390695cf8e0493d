"""Hold of a shared stream by connections of peers without credit."""

from __future__ import annotations

import asyncio

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.stream_hold import CHECK_INTERVAL_S, StreamHold
from support.memory_server import advance, in_still_time
from support.memory_streams import stream_pair

HOLD_S = 2.0


class Flow:
    """Inbound direction of a connection that is over its budget."""

    def __init__(self) -> None:
        self.free = False
        self.reason = ""

    def relieved(self) -> bool:
        return self.free

    def over_budget(self, reason: str) -> None:
        self.reason = reason


def made(hold_s: float | None = HOLD_S) -> tuple[StreamHold, TunnelStats, list[Flow]]:
    traffic = TunnelStats()
    stream, _ = stream_pair()
    hold = StreamHold(stream, traffic, hold_s, asyncio.get_running_loop())
    return hold, traffic, [Flow(), Flow()]


@in_still_time
async def test_a_stream_is_held_while_at_least_one_connection_holds_it() -> None:
    stream, _ = stream_pair()
    hold = StreamHold(stream, TunnelStats(), HOLD_S, asyncio.get_running_loop())
    one, other = Flow(), Flow()
    hold.hold(one)
    hold.hold(other)
    hold.hold(one)
    hold.unhold(one)
    assert stream.held
    hold.unhold(other)
    assert not stream.held
    hold.unhold(other)


@in_still_time
async def test_a_connection_that_is_relieved_releases_the_stream() -> None:
    hold, traffic, (flow, _) = made()
    hold.hold(flow)
    assert (traffic.held, traffic.holding) == (1, 1)
    flow.free = True
    await advance(CHECK_INTERVAL_S)
    assert (traffic.held, traffic.holding) == (1, 0)
    assert flow.reason == ""


@in_still_time
async def test_a_connection_that_holds_for_too_long_is_told() -> None:
    hold, traffic, (flow, _) = made()
    hold.hold(flow)
    for _ in range(19):
        await advance(CHECK_INTERVAL_S)
    assert flow.reason == ""
    await advance(CHECK_INTERVAL_S)
    await advance(CHECK_INTERVAL_S)
    assert "over its buffer budget for 2 s" in flow.reason
    assert traffic.reset_over_budget == 1


@in_still_time
async def test_a_hold_without_a_limit_lasts() -> None:
    hold, _, (flow, _) = made(hold_s=None)
    hold.hold(flow)
    for _ in range(1000):
        await advance(CHECK_INTERVAL_S)
    assert flow.reason == ""
    hold.unhold(flow)

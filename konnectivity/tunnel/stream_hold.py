"""Hold of a shared stream while a connection is over its memory budget and its peer knows no credit."""

from __future__ import annotations

import asyncio

from konnectivity.grpc.message_stream import MessageStream
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.interfaces import HeldFlow

HOLD_S = 2.0  # reference protocol: longest time that one connection over its budget holds the shared stream
CHECK_INTERVAL_S = 0.1


class StreamHold:
    """Connections that hold one stream, and the timers that end their hold. Knows nothing of what they buffer.

    Args:
        stream: the stream; held while at least one connection holds it.
        traffic: counters.
        hold_s: longest hold by one connection, in seconds; None: no limit.
        loop: event loop of the timers.

    """

    def __init__(
        self, stream: MessageStream, traffic: TunnelStats, hold_s: float | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._stream = stream
        self._traffic = traffic
        self._hold_s = hold_s
        self._loop = loop
        self._holders: dict[HeldFlow, asyncio.TimerHandle] = {}

    def hold(self, flow: HeldFlow) -> None:
        """Hold the stream until `flow` is relieved, or is over its budget for too long."""
        if flow in self._holders:
            return
        if not self._holders:
            self._stream.hold()
            self._traffic.holding += 1
        self._traffic.held += 1
        until = None if self._hold_s is None else self._loop.time() + self._hold_s
        self._holders[flow] = self._loop.call_later(CHECK_INTERVAL_S, self._check, flow, until)

    def unhold(self, flow: HeldFlow) -> None:
        """End the hold by `flow`; the stream is released when no other connection holds it."""
        if flow not in self._holders:
            return
        self._holders.pop(flow).cancel()
        if not self._holders:
            self._stream.release()
            self._traffic.holding -= 1

    def _check(self, flow: HeldFlow, until: float | None) -> None:
        if flow.relieved():
            self.unhold(flow)
        elif until is not None and self._loop.time() >= until:
            self._traffic.reset_over_budget += 1
            flow.over_budget(f"reset: over its buffer budget for {self._hold_s:g} s, and the peer knows no credit")
        else:
            self._holders[flow] = self._loop.call_later(CHECK_INTERVAL_S, self._check, flow, until)

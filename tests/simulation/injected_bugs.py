"""Faults put back into the product, to show that the simulation finds them.

The first group are faults that this project once had, or that its users know from the reference. The second are new
ones, one of each kind that could be thought of. Each changes the classes of the running process for the length of a
block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from konnectivity.client.grpc_tunnel import GrpcTunnel
from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.status import Status
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.hop_timings import HopTimings
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.inbound_flow import InboundFlow
from konnectivity.tunnel.outbound_queue import OutboundQueue
from konnectivity.tunnel.progress_timers import ProgressTimers
from konnectivity.tunnel.relay import Relay
from konnectivity.tunnel.scheduler import Scheduler
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity_server import dial_answers
from konnectivity_server.agents.agent_service import AgentService
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.registry import Registry

Change = tuple[Any, str, Any]
OLD: dict[str, Callable[[], Change]] = {}
NEW: dict[str, Callable[[], Change]] = {}
# Seed that finds a fault, from which the search begins; 0 for the others.
FOUND_BY: dict[str, int] = {
    "a dial that is lost with its agent is not tried again": 50,
    "a dial does not leave an agent that falls silent": 24,
    "a lost tunnel does not end the dials that wait on it": 50,
    "a broken connection is shown to the target as a clean end": 13,
    "the end of one direction is not passed on": 1,
    "a stalled connection holds the stream of all": 1,
    "a peer that is silent is believed alive": 24,
    "a reader that drained gets no credit": 1,
    "the end of data overtakes data": 5,
    "a queued piece is sent twice": 1,
    "new credit does not wake the local side": 1,
    "a stream that drained gives no turns": 5,
    "a heartbeat outlives its tunnel": 1,
}


def _old(make: Callable[[], Change]) -> Callable[[], Change]:
    OLD[make.__name__.replace("_", " ")] = make
    return make


def _new(make: Callable[[], Change]) -> Callable[[], Change]:
    NEW[make.__name__.replace("_", " ")] = make
    return make


@contextmanager
def injected(name: str) -> Iterator[None]:
    """Put one fault into the product for the length of the block."""
    place, attribute, value = {**OLD, **NEW}[name]()
    before = place.__dict__[attribute]
    setattr(place, attribute, value)
    try:
        yield
    finally:
        setattr(place, attribute, before)


def _nothing(*_: Any, **__: Any) -> None:
    return None


# ---- faults of the past ----------------------------------------------------------------------------------------------


@_old
def a_dial_that_is_lost_with_its_agent_is_not_tried_again() -> Change:
    return dial_answers, "_UNANSWERED", ()


@_old
def a_dial_does_not_leave_an_agent_that_falls_silent() -> Change:
    return AgentService, "agent_suspected", _nothing


@_old
def a_lost_tunnel_does_not_end_the_dials_that_wait_on_it() -> Change:
    def stream_closed(self: DialingTunnel, status: Status) -> None:
        Tunnel.stream_closed(self, status)

    return DialingTunnel, "stream_closed", stream_closed


@_old
def a_client_keeps_a_tunnel_that_could_not_connect() -> Change:
    async def connected(self: Any, hops: HopTimings) -> Http2ClientTransport:
        if self._transport is None or (self._transport.closed and self._transport.goaway is None):
            self._gone = asyncio.Event()
            self._transport = Http2ClientTransport(TransportOptions(), self._frontend.authority, self._gone.set)
            await self._frontend.start(self._transport, hops)
        return self._transport  # type: ignore[no-any-return]

    return GrpcTunnel, "_connected", connected


@_old
def a_closed_connection_keeps_the_growth_of_its_window() -> Change:
    def close(self: Any, flow: Any, window: int, owed: int) -> None:
        del self._flows[flow]
        self._spent.pop(flow, None)

    return FlowControl, "close", close


@_old
def a_broken_connection_is_shown_to_the_target_as_a_clean_end() -> Change:
    def abort(self: Any, reason: str) -> None:
        if self._transport is not None:
            self._closing = True
            self._cancel_timer()
            self._transport.abort()

    return Relay, "abort", abort


@_old
def the_end_of_one_direction_is_not_passed_on() -> Change:
    return Relay, "write_eof", _nothing


@_old
def bytes_that_a_target_sends_first_are_dropped() -> Change:
    original = Relay.attach

    def attach(self: Any, *arguments: Any) -> None:
        self._early = b""
        original(self, *arguments)

    return Relay, "attach", attach


@_old
def a_stalled_connection_holds_the_stream_of_all() -> Change:
    original = InboundFlow._keep

    def keep(self: Any, size: int) -> None:
        original(self, size)
        self._tunnel.stream.hold()

    return InboundFlow, "_keep", keep


@_old
def a_peer_that_is_silent_is_believed_alive() -> Change:
    def check(self: Any) -> None:
        self._arm(self._interval_s)

    return Heartbeat, "_check", check


@_old
def a_reader_that_drained_gets_no_credit() -> Change:
    def local_drained(self: Any) -> None:
        if self.blocked:
            self._unblock()
            self._forget_backlog()

    return InboundFlow, "local_drained", local_drained


# ---- new faults ------------------------------------------------------------------------------------------------------


@_new
def connection_ids_are_used_again_at_once() -> Change:
    original = ServingTunnel.answer

    def answer(self: Any, dial: IncomingDial, local_side: Any) -> Any:
        self._last_id %= 2
        return original(self, dial, local_side)

    return ServingTunnel, "answer", answer


@_new
def the_end_of_data_overtakes_data() -> Change:
    def end(self: Any) -> None:
        self.ended = self._shut = True
        if not self._stopped:
            self._owner.flushed()

    return OutboundQueue, "end", end


@_new
def a_queued_piece_is_sent_twice() -> Change:
    original = OutboundQueue._send_queued

    def send_queued(self: Any, quantum: int) -> None:
        if len(self._queue) > 1 and self.credit > 2 * len(self._queue[0]) and len(self._queue[0]) < 1000:
            self._tunnel.send_data(self._connect_id, self._queue[0])
        original(self, quantum)

    return OutboundQueue, "_send_queued", send_queued


@_new
def new_credit_does_not_wake_the_local_side() -> Change:
    def add_credit(self: Any, size: int) -> None:
        self.credit += size
        if self._queue:
            if self.starved:
                self._feed()
            self._schedule()

    return OutboundQueue, "add_credit", add_credit


@_new
def a_stream_that_drained_gives_no_turns() -> Change:
    def resume(self: Any) -> None:
        self._paused = False

    return Scheduler, "resume", resume


@_new
def a_lost_agent_stays_in_the_registry() -> Change:
    return Registry, "remove", _nothing


@_new
def a_heartbeat_outlives_its_tunnel() -> Change:
    return Heartbeat, "stop", _nothing


@_new
def a_time_limit_outlives_its_connection() -> Change:
    return ProgressTimers, "cancel", _nothing


@_new
def a_dial_that_ended_is_booked_out_twice() -> Change:
    original = PendingDials.dial_ended

    def dial_ended(self: Any, dial: Any, error: Any) -> None:
        original(self, dial, None)
        original(self, dial, error)

    return PendingDials, "dial_ended", dial_ended

"""Faults that this project once had, or that its users know from the reference, put back into the product."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from konnectivity.client.grpc_tunnel import GrpcTunnel
from konnectivity.grpc import status as statuses
from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.http2_transport import Http2Transport
from konnectivity.grpc.status import Status
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net import happy_eyeballs
from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.net.hop_timings import HopTimings
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.inbound_flow import InboundFlow
from konnectivity.tunnel.relay import Relay
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity_server import dial_answers
from konnectivity_server.agents.agent_service import AgentService
from konnectivity_server.pending_dial import PendingDial
from simulation.bug_registry import Change, nothing, old


@old
def a_dial_that_is_lost_with_its_agent_is_not_tried_again() -> Change:
    return dial_answers, "_UNANSWERED", ()


@old
def a_dial_that_its_server_has_not_begun_is_not_made_again() -> Change:
    original = statuses.from_reset
    return statuses, "from_reset", lambda code, message: replace(original(code, message), not_begun=False)


@old
def a_dial_does_not_leave_an_agent_that_falls_silent() -> Change:
    return AgentService, "agent_suspected", nothing


@old
def a_lost_tunnel_does_not_end_the_dials_that_wait_on_it() -> Change:
    def stream_closed(self: DialingTunnel, status: Status) -> None:
        Tunnel.stream_closed(self, status)

    return DialingTunnel, "stream_closed", stream_closed


@old
def a_client_keeps_a_tunnel_that_could_not_connect() -> Change:
    async def connected(self: Any, hops: HopTimings) -> Http2ClientTransport:
        if self._transport is None or (self._transport.closed and self._transport.goaway is None):
            self._gone = asyncio.Event()
            self._transport = Http2ClientTransport(TransportOptions(), self._frontend.authority, self._gone.set)
            await self._frontend.start(self._transport, hops)
        return self._transport  # type: ignore[no-any-return]

    return GrpcTunnel, "_connected", connected


@old
def a_closed_connection_keeps_the_growth_of_its_window() -> Change:
    def close(self: Any, flow: Any, window: int, owed: int) -> None:
        del self._flows[flow]
        self._spent.pop(flow, None)

    return FlowControl, "close", close


@old
def a_broken_connection_is_shown_to_the_target_as_a_clean_end() -> Change:
    def abort(self: Any, reason: str) -> None:
        if self._transport is not None:
            self._closing = True
            self._cancel_timer()
            self._transport.abort()

    return Relay, "abort", abort


@old
def the_end_of_one_direction_is_not_passed_on() -> Change:
    return Relay, "write_eof", nothing


@old
def bytes_that_a_target_sends_first_are_dropped() -> Change:
    original = Relay.attach

    def attach(self: Any, *arguments: Any) -> None:
        self._early = b""
        original(self, *arguments)

    return Relay, "attach", attach


@old
def a_stalled_connection_holds_the_stream_of_all() -> Change:
    original = InboundFlow._keep

    def keep(self: Any, size: int) -> None:
        original(self, size)
        self._tunnel.stream.hold()

    return InboundFlow, "_keep", keep


@old
def a_peer_that_is_silent_is_believed_alive() -> Change:
    def check(self: Any) -> None:
        self._arm(self._interval_s)

    return Heartbeat, "_check", check


@old
def a_reader_that_drained_gets_no_credit() -> Change:
    def local_drained(self: Any) -> None:
        if self.blocked:
            self._unblock()
            self._forget_backlog()

    return InboundFlow, "local_drained", local_drained


@old
def a_dial_has_no_deadline() -> Change:
    original = PendingDial.start

    def start(self: PendingDial, backend: Any, timeout_s: float) -> None:
        original(self, backend, 0)

    return PendingDial, "start", start


@old
def a_connection_that_nobody_wants_any_more_is_not_closed() -> Change:
    return DialingTunnel, "_close_unwanted", nothing


@old
def a_program_that_ends_leaves_open_connections_to_the_kernel() -> Change:
    def close(self: Any, reason: str = "") -> None:
        if self._transport is not None:
            self._leaving = True
            self.goaway = self.goaway or reason
            self.writer.go_away(reason)
            self._hang_up(self._transport)

    return Http2Transport, "close", close


@old
def an_agent_that_ends_leaves_unwritten_bytes_to_the_kernel() -> Change:
    return ClosingSockets, "abort_unwritten", nothing


@old
def a_client_that_only_reads_never_learns_that_its_connection_is_gone() -> Change:
    return happy_eyeballs, "keep_alive", nothing

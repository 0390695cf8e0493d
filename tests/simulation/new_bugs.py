"""Faults that the product never had, one of each kind that could be thought of."""

from __future__ import annotations

from typing import Any

from konnectivity import wire
from konnectivity.tunnel import connection
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.inbound_flow import InboundFlow
from konnectivity.tunnel.outbound_queue import OutboundQueue
from konnectivity.tunnel.progress_timers import ProgressTimers
from konnectivity.tunnel.scheduler import Scheduler
from konnectivity.tunnel.serving import IncomingDial, ServingTunnel
from konnectivity.tunnel.states import Action
from konnectivity_agent.pool_plan import PoolPlan
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.registry import Registry
from konnectivity_server.tenants.tenant_set import TenantSet
from simulation.bug_registry import Change, new, nothing


@new
def connection_ids_are_used_again_at_once() -> Change:
    original = ServingTunnel.answer

    def answer(self: Any, dial: IncomingDial, local_side: Any) -> Any:
        self._last_id %= 2
        return original(self, dial, local_side)

    return ServingTunnel, "answer", answer


@new
def the_end_of_data_overtakes_data() -> Change:
    def end(self: Any) -> None:
        self.ended = self._shut = True
        if not self._stopped:
            self._owner.flushed()

    return OutboundQueue, "end", end


@new
def a_queued_piece_is_sent_twice() -> Change:
    original = OutboundQueue._send_queued

    def send_queued(self: Any, quantum: int) -> None:
        if len(self._queue) > 1 and self.credit > 2 * len(self._queue[0]) and len(self._queue[0]) < 1000:
            self._tunnel.send_data(self._connect_id, self._queue[0])
        original(self, quantum)

    return OutboundQueue, "_send_queued", send_queued


@new
def new_credit_does_not_wake_the_local_side() -> Change:
    def add_credit(self: Any, size: int) -> None:
        self.credit += size
        if self._queue:
            if self.starved:
                self._feed()
            self._schedule()

    return OutboundQueue, "add_credit", add_credit


@new
def a_stream_that_drained_gives_no_turns() -> Change:
    def resume(self: Any) -> None:
        self._paused = False

    return Scheduler, "resume", resume


@new
def a_lost_agent_stays_in_the_registry() -> Change:
    return Registry, "remove", nothing


@new
def a_heartbeat_outlives_its_tunnel() -> Change:
    return Heartbeat, "stop", nothing


@new
def a_time_limit_outlives_its_connection() -> Change:
    return ProgressTimers, "cancel", nothing


@new
def a_dial_that_ended_is_booked_out_twice() -> Change:
    original = PendingDials.dial_ended

    def dial_ended(self: Any, dial: Any, error: Any) -> None:
        original(self, dial, None)
        original(self, dial, error)

    return PendingDials, "dial_ended", dial_ended


@new
def a_lost_server_is_not_dialled_again() -> Change:
    original = PoolPlan.next

    def next(self: Any, now: float, connected: int, count: int) -> Any:
        return [each for each in original(self, now, connected, count) if not each.connected_at]

    return PoolPlan, "next", next


@new
def dials_go_to_silent_agents_as_well() -> Change:
    return AgentTunnel, "usable", property(lambda self: not self.draining)


@new
def a_reset_connection_is_forgotten_without_a_word() -> Change:
    return connection, "_METHODS", {**connection._METHODS, Action.SEND_RESET: nothing}


@new
def every_byte_of_a_stalled_connection_is_kept() -> Change:
    def keep(self: Any, size: int) -> None:
        self._unreturned += size
        self.backlog += size
        self._tunnel.memory.book_backlog(size)
        window = self.window
        if window is not None and self._unreturned >= window.step:
            self.granted += self._unreturned
            self._tunnel.send_control(wire.credit(self._connect_id, self._unreturned))
            self._unreturned = 0

    return InboundFlow, "_keep", keep


@new
def the_names_of_one_tenant_lead_to_another() -> Change:
    return TenantSet, "find_frontends", lambda self, name: next(self.served()).frontends


@new
def a_tenant_that_is_removed_takes_the_others_with_it() -> Change:
    original = TenantSet._remove

    async def remove(self: Any, name: str) -> None:
        await original(self, name)
        await self.close("a tenant is removed")

    return TenantSet, "_remove", remove

"""Prober of paths: probes every class through every agent of this server, and keeps the result of each path.

Owns the timer, the probes under way and the records. Each probe has one deadline. Dials pass through the agent's tunnel
beside those of clients, and are counted apart from them. Does not know how results are published.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from random import Random
from time import monotonic
from typing import Protocol

from konnectivity.errors import DialError
from konnectivity.metrics.histograms import Histogram
from konnectivity.metrics.tunnel_stats import DIAL_BOUNDS
from konnectivity.runtime import logs
from konnectivity.tls.certificate_reload import wall_clock
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity_server.agents.agent_tunnel import LINE_RATE, AgentTunnel
from konnectivity_server.probes import path_faults, path_record
from konnectivity_server.probes.common_rate import CommonRate
from konnectivity_server.probes.data_plane import DataPlane
from konnectivity_server.probes.path_faults import PathFault, fault
from konnectivity_server.probes.path_record import PathRecord
from konnectivity_server.probes.probe_attempt import ProbeAttempt
from konnectivity_server.probes.probe_classes import DNS, HTTP, HTTPS, TLS, ProbeClass
from konnectivity_server.probes.probe_exchanges import DnsExchange, Exchange, StatusExchange, TcpExchange
from konnectivity_server.probes.probe_schedule import RATE, ProbeSchedule
from konnectivity_server.probes.probe_tls import ProbeTls
from konnectivity_server.registry import Registry

log = logs.get_peer_log(__name__, LINE_RATE)

TIMEOUT_SHARE = 6  # a probe may take a sixth of the interval, and at most
MAX_TIMEOUT_S = 2.0  # ... this time; an agent that is pinged first gets half of it more
SETTLE_S = 0.1  # from the news of an agent until the paths are compared with the agents; for many paths up to
MANY_SETTLE_S = 1.0  # ... this time, since all of them are compared
STARTS = 8  # probes that begin in one pass of the event loop
PASSED = "passed"  # value of the label `result` beside the reasons of faults

Path = tuple[AgentTunnel, int]  # agent, and the place of the class


class PathNews(Protocol):
    """Receiver of changes of paths."""

    def path_changed(self, agent: AgentTunnel, probe: ProbeClass, record: PathRecord) -> None:
        """Take notice that a path fails, or passes again."""


class PathProber:
    """Prober of the paths of one server.

    Args:
        classes: classes of probes.
        interval_s: time within which a fault of a path is seen.
        registry: agents.
        memory: no probe starts while its budget is spent.
        tls: TLS of probes.
        rate: probes per second at most.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        common_rate: rate of all probers of the process; None: there is no other one.

    """

    def __init__(
        self,
        classes: Sequence[ProbeClass],
        interval_s: float,
        registry: Registry[AgentTunnel],
        memory: MemoryBudget,
        tls: ProbeTls,
        rate: float = RATE,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = wall_clock,
        common_rate: CommonRate | None = None,
    ) -> None:
        self.classes = classes
        self.results: Counter[tuple[str, str]] = Counter()  # probes by class and result
        self.seconds = {each.name: Histogram(DIAL_BOUNDS) for each in classes}  # of probes that passed
        self.put_off = 0  # probes that waited because the agent or the server had no room
        self.data_plane = DataPlane(wall_clock)
        self.news: PathNews | None = None
        self._timeout_s = min(MAX_TIMEOUT_S, interval_s / TIMEOUT_SHARE)
        gap_s = interval_s - 1.5 * self._timeout_s
        self._schedule: ProbeSchedule[Path] = ProbeSchedule(
            gap_s, clock, Random().random, rate=rate, common=common_rate
        )
        self._registry = registry
        self._memory = memory
        self._tls = tls
        self._clock = clock
        self._records: dict[AgentTunnel, list[PathRecord]] = {}
        self._running: dict[Path, ProbeAttempt] = {}
        self._paths: dict[ProbeAttempt, Path] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._stopped = False

    def records(self) -> Mapping[AgentTunnel, Sequence[PathRecord]]:
        """Return the records of each agent, in the order of the classes."""
        return self._records

    def counts(self) -> Counter[tuple[str, str]]:
        """Return the number of paths by class and state."""
        return Counter(
            (probe.name, record.state)
            for records in self._records.values()
            for probe, record in zip(self.classes, records, strict=True)
        )

    def agents_changed(self) -> None:
        """Compare the paths with the agents soon: an agent registered, left, fell silent or answers again."""
        if self._settling is None and not self._stopped:
            wait_s = min(MANY_SETTLE_S, SETTLE_S + len(self._schedule) / 1000)
            self._settling = self._loop.call_later(wait_s, self._settle)

    def stop(self) -> None:
        """Probe nothing any more, and end the probes under way."""
        self._stopped = True
        self._schedule.rest()
        for timer in (self._timer, self._settling):
            if timer is not None:
                timer.cancel()
        for attempt in list(self._running.values()):
            attempt.cancel()
        self._running.clear()
        self._paths.clear()

    # ---- AttemptOwner ---------------------------------------------------------------------------------------------

    def attempt_ended(self, attempt: ProbeAttempt, problem: PathFault | None) -> None:
        """Note the result of a probe, and schedule the next one of its path."""
        path = self._paths.pop(attempt)
        self._running.pop(path, None)
        agent, place = path
        records = self._records.get(agent)
        if records is None or (problem is not None and problem.reason == path_faults.AGENT_LOST):
            self._schedule.done(path, 0)
        else:
            self._note(path, records[place], attempt, problem)
        self._arm_for_next()

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _note(self, path: Path, record: PathRecord, attempt: ProbeAttempt, problem: PathFault | None) -> None:
        agent, place = path
        probe, now = self.classes[place], self._clock()
        seconds = attempt.hops.seconds
        self.results[probe.name, PASSED if problem is None else problem.reason] += 1
        if problem is None:
            self.seconds[probe.name].observe(attempt.hops.total)
            changed = record.passed(now, seconds, attempt.certificate)
        else:
            certain = problem.reason == path_faults.FROZEN and agent.suspect
            changed = record.failed(now, problem, seconds, attempt.certificate, certain)
        self._schedule.done(path, record.failures)
        if changed:
            self._changed(agent, probe, record)

    def _changed(self, agent: AgentTunnel, probe: ProbeClass, record: PathRecord) -> None:
        names = {"agent": agent.agent_id, "probe": probe.name, "target": record.target}
        if record.fault is not None:
            layer, reason = record.fault.layer, record.fault.text
            log.warning(agent.agent_id, "A path fails", **names, layer=layer, reason=reason)
        elif record.probes > 1:
            log.warning(agent.agent_id, "A path passes", **names)
        self.agents_changed()
        if self.news is not None:
            self.news.path_changed(agent, probe, record)

    def _judge(self) -> None:
        if self.data_plane.judge(self._records.values()):
            trouble = self.data_plane.trouble()
            log.warning("", "The data plane is reachable" if trouble is None else "No data plane", reason=trouble or "")

    def _settle(self) -> None:
        """Begin the paths of new agents, end those of agents that left, and note agents that fell silent."""
        self._settling = None
        present = self._registry.all()
        for agent in present:
            if agent not in self._records:
                self._begin(agent)
            elif agent.suspect:
                self._freeze(agent)
            else:
                self._thaw(agent)
        gone = self._records.keys() - set(present)
        for agent in gone:
            del self._records[agent]
            for place in range(len(self.classes)):
                self._schedule.remove((agent, place))
        self._judge()
        self._arm()

    def _begin(self, agent: AgentTunnel) -> None:
        records = self._records[agent] = []
        now = self._clock()
        for place, probe in enumerate(self.classes):
            target = probe.address_for(agent.identifiers) or ""
            records.append(PathRecord(target, now, path_record.UNKNOWN if target else path_record.SKIPPED))
            if target:
                self._schedule.add((agent, place))

    def _freeze(self, agent: AgentTunnel) -> None:
        """Fail the paths of an agent that answers no pings, without a probe."""
        problem = fault(path_faults.FROZEN, "the agent answers no pings")
        for place, record in enumerate(self._records[agent]):
            if record.state not in (path_record.SKIPPED, path_record.FAILING):
                if record.failed(self._clock(), problem, {}, certain=True):
                    self._changed(agent, self.classes[place], record)
                self._schedule.hurry((agent, place))

    def _thaw(self, agent: AgentTunnel) -> None:
        """Probe the paths again of an agent that was frozen and answers pings."""
        for place, record in enumerate(self._records[agent]):
            if record.fault is not None and record.fault.reason == path_faults.FROZEN:
                self._schedule.hurry((agent, place))

    def _arm(self) -> None:
        """Set the timer for the next probe or the next deadline, whichever is first."""
        if self._stopped:
            return
        wait_s = self._schedule.wait_s()
        if self._running:
            deadline_s = min(each.deadline for each in self._running.values()) - self._clock()
            wait_s = deadline_s if wait_s is None else min(wait_s, deadline_s)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s is not None:
            self._set_timer(max(0.0, wait_s))

    def _arm_for_next(self) -> None:
        """Set the timer earlier if a probe may begin earlier: one has ended, so no deadline is nearer than before."""
        wait_s = self._schedule.wait_s()
        if self._stopped or wait_s is None:
            return
        if self._timer is None or self._clock() + wait_s < self._tick_at:
            self._set_timer(wait_s)

    def _set_timer(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._tick_at = self._clock() + wait_s
        self._timer = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock()
        grace_s = self._timeout_s / 2
        if now - self._tick_at > grace_s / 2:  # this process stood still: answers may wait in its sockets
            for attempt in self._running.values():
                attempt.deadline = max(attempt.deadline, now + grace_s)
        for attempt in [each for each in self._running.values() if each.deadline <= now]:
            attempt.expire(grace_s)
        for path in list(islice(self._schedule.due(), STARTS)):  # sockets are served before the others begin
            self._start(path)
        self._arm()

    def _start(self, path: Path) -> None:
        agent, place = path
        if agent.draining or agent.exhausted or self._memory.exhausted:
            self.put_off += 1
            self._schedule.later(path)
            return
        probe, record = self.classes[place], self._records[agent][place]
        exchange = self._exchange(probe, record)
        attempt = ProbeAttempt(self, agent, record.target, probe, exchange, self._timeout_s, self._clock)
        self._running[path] = attempt
        self._paths[attempt] = path
        try:
            attempt.start()
        except DialError as error:
            attempt.dial_failed(error)

    def _exchange(self, probe: ProbeClass, record: PathRecord) -> Exchange:
        target, known = record.target, record.certificate
        host = target.rpartition(":")[0]
        if probe.kind == TLS:
            return self._tls.exchange(host, known=known)
        if probe.kind == HTTP:
            return StatusExchange(target, probe.detail)
        if probe.kind == HTTPS:
            return self._tls.exchange(host, StatusExchange(target, probe.detail), known)
        return DnsExchange(probe.detail) if probe.kind == DNS else TcpExchange()

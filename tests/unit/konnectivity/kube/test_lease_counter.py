"""Servers counted by their leases, on a clock that stands still: leases that change and expire, an API in trouble."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube import lease_counter
from konnectivity.kube.api_answers import Event
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.json_object import JsonObject
from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease_counter import LeaseCounter
from konnectivity.kube.lease_objects import StoredLease, micro_time
from support.memory_streams import StillLoop

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
UNREACHABLE = KubeError("connection refused", reason="Unreachable")
TOO_OLD = KubeError("too old", 410, "Expired")
FORBIDDEN = KubeError("no", 403, "Forbidden")


class MemoryApi:
    """Leases of one namespace behind the methods of a client that list and watch them; waiting errors go first."""

    def __init__(self, loop: StillLoop) -> None:
        self.loop = loop
        self.began = loop.time()
        self.stored: dict[str, StoredLease] = {}
        self.version = 100
        self.list_errors: deque[KubeError] = deque()
        self.watch_errors: deque[KubeError] = deque()
        self.lists = 0
        self.watched: list[tuple[str, float]] = []  # version and seconds of each watch
        self.ends_at_once = False
        self.watch_delay_s = 0.0
        self._watch: asyncio.Queue[Event | KubeError] | None = None

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.loop.time() - self.began)

    def put(self, name: str, age_s: float = 0.0, labels: dict[str, str] = LABELS, **spec: object) -> None:
        """Store a lease that its holder renewed `age_s` ago, and tell the watch."""
        fields = {"renewTime": micro_time(self.now() - timedelta(seconds=age_s)), "leaseDurationSeconds": 30, **spec}
        kind = "MODIFIED" if name in self.stored else "ADDED"
        self.stored[name] = self._lease(name, labels, fields)
        self._tell(Event(kind, self.stored[name]))

    def remove(self, name: str) -> None:
        self.version += 1
        self._tell(Event("DELETED", self.stored.pop(name)))

    def fail_watch(self, error: KubeError) -> None:
        """End the present watch with an error."""
        assert self._watch is not None
        self._watch.put_nowait(error)

    async def list_leases(self, namespace: str) -> tuple[list[StoredLease], str]:
        assert namespace == NAMESPACE
        self.lists += 1
        if self.list_errors:
            raise self.list_errors.popleft()
        return list(self.stored.values()), str(self.version)

    @asynccontextmanager
    async def watch_leases(self, namespace: str, version: str, seconds: float) -> AsyncIterator[AsyncIterator[Event]]:
        self.watched.append((version, seconds))
        if self.watch_errors:
            raise self.watch_errors.popleft()
        if self.watch_delay_s:
            await asyncio.sleep(self.watch_delay_s)
        self._watch = asyncio.Queue()
        try:
            yield self._events(self._watch, self.loop.time() + seconds)
        finally:
            self._watch = None

    async def _events(self, queue: asyncio.Queue[Event | KubeError], end: float) -> AsyncIterator[Event]:
        while not self.ends_at_once:
            try:
                async with asyncio.timeout_at(end):
                    found = await queue.get()
            except TimeoutError:
                if self.loop.time() >= end:
                    return
                raise
            if isinstance(found, KubeError):
                raise found
            yield found

    def _lease(self, name: str, labels: dict[str, str], fields: dict[str, object]) -> StoredLease:
        self.version += 1
        metadata = {"name": name, "labels": labels, "resourceVersion": str(self.version)}
        return StoredLease.read(JsonObject({"metadata": metadata, "spec": fields}))

    def _tell(self, event: Event) -> None:
        if self._watch is not None:
            self._watch.put_nowait(event)


class Middle:
    """Random numbers from the middle of their range: no jitter."""

    def random(self) -> float:
        return 0.5

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


class Counting:
    """Running counter, and the counts that it reported."""

    def __init__(self, loop: StillLoop) -> None:
        self.loop = loop
        self.api = MemoryApi(loop)
        self.told: list[int] = []

    def start(self, selector: str = "k8s-app=konnectivity-server", now: Callable[[], datetime] | None = None) -> None:
        report = lambda: self.told.append(self.counter.count)  # noqa: E731
        how = {"now": now or self.api.now, "random": Middle()}
        self.counter = LeaseCounter(self.api, NAMESPACE, parse_selector(selector), report, **how)  # type: ignore[arg-type]
        self.task = asyncio.create_task(self.counter.run())

    @property
    def count(self) -> int:
        return self.counter.count

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Advance the clock in steps of 0.5 s."""
        end = self.loop.time() + seconds
        while (left := end - self.loop.time()) > 0:
            await self.loop.advance(min(0.5, left))
            await self.settle()


def counting(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on a loop whose clock stands still, with a `Counting` as its first argument."""

    def run(*arguments: object) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, StillLoop)
            made = Counting(loop)
            await test(made, *arguments)
            assert not made.task.done(), made.task
            made.task.cancel()
            await asyncio.gather(made.task, return_exceptions=True)

        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(main())

    return run


def test_leases_that_exist_are_counted_at_the_first_list():
    @counting
    async def run(made):
        for name in ("one", "two", "three"):
            made.api.put(name)
        made.api.put("dead", 31)
        made.start()
        assert made.count == 1
        await made.settle()
        assert (made.count, made.told, made.counter.synced.is_set()) == (3, [3], True)

    run()


def test_leases_with_missing_fields_do_not_count():
    @counting
    async def run(made):
        made.api.put("no-duration", leaseDurationSeconds=None)
        made.api.put("no-times", renewTime=None)
        made.api.put("acquired", renewTime=None, acquireTime=micro_time(made.api.now()))
        made.api.put("good")
        made.start()
        await made.settle()
        assert made.count == 2
        made.api.put("no-duration-either", leaseDurationSeconds=None)
        made.api.put("no-labels", labels=None)
        made.api.put("late")
        await made.settle()
        assert made.count == 3

    run()


def test_the_count_is_at_least_one():
    @counting
    async def run(made):
        made.start()
        await made.settle()
        assert (made.count, made.told, made.counter.synced.is_set()) == (1, [], True)

    run()


@pytest.mark.parametrize(("selector", "count"), [("", 4), ("tier in (a,b),!old", 2), ("tier notin (a)", 3), ("x", 1)])
def test_only_leases_that_match_the_selector_count(selector, count):
    @counting
    async def run(made):
        made.api.put("one", labels={"tier": "a"})
        made.api.put("two", labels={"tier": "b"})
        made.api.put("three", labels={"tier": "b", "old": ""})
        made.api.put("four", labels={})
        made.start(selector)
        await made.settle()
        assert made.count == count

    run()


def test_the_watch_reports_leases_that_come_change_and_go():
    @counting
    async def run(made):
        made.start()
        await made.settle()
        for name in ("one", "two", "three"):
            made.api.put(name)
        await made.settle()
        assert made.count == 3
        made.api.put("three", labels={"k8s-app": "other"})
        await made.settle()
        assert made.count == 2
        made.api.remove("two")
        made.api.remove("one")
        await made.settle()
        assert (made.count, made.told) == (1, [2, 3, 2, 1])
        assert made.counter.lists.answers == {(200, ""): 1}
        assert made.counter.watches.answers == {(200, ""): 1}

    run()


def test_before_a_lease_counts_as_expired_the_leases_are_listed_once_more():
    @counting
    async def run(made):
        made.api.put("one")
        made.api.put("two", 20)
        made.start()
        await made.advance(10.5)
        assert (made.count, made.api.lists) == (2, 1)  # the lease may be renewed within the grace
        await made.advance(3)
        assert (made.told, made.api.lists) == ([2, 1], 2)
        made.api.put("one")
        await made.advance(20)
        assert made.api.lists == 2

    run()


def test_a_lease_that_expires_while_the_watch_is_set_up_is_noticed():
    @counting
    async def run(made):
        made.api.put("one")
        made.api.put("two", 28)
        made.api.watch_delay_s = 4.0
        made.start()
        await made.advance(12)
        assert made.told == [2, 1]

    run()


def test_a_lease_that_is_renewed_in_time_causes_no_list():
    @counting
    async def run(made):
        made.start()
        for _ in range(6):
            made.api.put("one")
            made.api.put("two")
            await made.advance(20)
        assert (made.told, made.api.lists) == ([2], 1)

    run()


def test_the_last_good_count_stays_while_the_api_is_away(caplog):
    caplog.set_level("INFO")

    @counting
    async def run(made):
        made.api.put("one")
        made.api.put("two")
        made.start()
        await made.settle()
        made.api.list_errors.extend([UNREACHABLE] * 5)
        made.api.fail_watch(UNREACHABLE)
        await made.advance(60)  # both have expired meanwhile
        assert made.count == 2
        for name in ("one", "two", "three"):
            made.api.put(name)
        await made.advance(5)
        assert made.told == [2, 3]
        assert made.counter.lists.answers[0, "Unreachable"] == 5

    run()
    assert caplog.text.count("Leases are counted again") == 1
    assert caplog.text.count("Cannot count leases, will keep trying") == 1


def test_an_api_that_is_up_late_is_asked_until_it_answers():
    @counting
    async def run(made):
        made.api.put("one")
        made.api.put("two")
        made.api.list_errors.extend([UNREACHABLE] * 3)
        made.start()
        await made.advance(2)
        assert (made.count, made.counter.synced.is_set()) == (1, False)
        await made.advance(8)
        assert (made.count, made.counter.synced.is_set()) == (2, True)

    run()


def test_pauses_grow_while_the_api_fails():
    @counting
    async def run(made):
        made.api.list_errors.extend([UNREACHABLE] * 100)
        made.start()
        await made.advance(600)
        assert 600 / lease_counter.LAST_PAUSE_S <= made.api.lists <= 600 / lease_counter.LAST_PAUSE_S + 6

    run()


@pytest.mark.parametrize("at", ["the answer", "an event"])
def test_a_version_that_is_too_old_is_listed_again(at):
    @counting
    async def run(made):
        if at == "the answer":
            made.api.watch_errors.append(TOO_OLD)
        made.start()
        await made.settle()
        if at == "an event":
            made.api.fail_watch(TOO_OLD)
        made.api.put("one")
        made.api.put("two")
        await made.advance(2)
        assert (made.count, made.api.lists) == (2, 2)

    run()


def test_an_api_that_always_says_410_is_asked_about_once_a_second():
    @counting
    async def run(made):
        made.api.watch_errors.extend([TOO_OLD] * 1000)
        made.start()
        await made.advance(60)
        assert 30 <= made.api.lists <= 61

    run()


def test_a_watch_that_ends_continues_at_its_last_version():
    @counting
    async def run(made):
        made.start()
        await made.settle()
        made.api.put("one", labels={})
        await made.advance(lease_counter.WATCH_S + 3)
        assert made.api.watched == [("100", lease_counter.WATCH_S), ("101", lease_counter.WATCH_S)]
        assert made.api.lists == 1

    run()


def test_a_watch_that_ends_at_once_is_asked_for_about_once_a_second():
    @counting
    async def run(made):
        made.api.ends_at_once = True
        made.start()
        await made.advance(60)
        assert 30 <= len(made.api.watched) <= 61

    run()


def test_without_the_right_to_watch_leases_are_listed_now_and_then():
    @counting
    async def run(made):
        made.api.watch_errors.extend([FORBIDDEN] * 1000)
        made.api.put("one")
        made.api.put("two")
        made.start()
        await made.settle()
        assert made.count == 2
        made.api.put("three", -60)
        await made.advance(20)
        assert made.count == 3
        assert made.counter.watches.answers[403, "Forbidden"] > 1

    run()


@pytest.mark.parametrize("skew_s", [-3600, -120, 120, 3600])
def test_a_clock_that_differs_changes_no_count_and_is_logged_once(caplog, skew_s):
    @counting
    async def run(made):
        for name in ("one", "two", "dead"):
            made.api.put(name)
        made.start(now=lambda: made.api.now() + timedelta(seconds=skew_s))
        await made.settle()
        for _ in range(5):
            await made.advance(14)
            made.api.put("one")
            made.api.put("two")
        await made.settle()
        assert made.count == 2
        await made.advance(40)
        assert made.count == 1

    run()
    lines = [record for record in caplog.records if "clock" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].fields["clock"] == ("ahead" if skew_s > 0 else "behind")
    assert abs(lines[0].fields["seconds"] - abs(skew_s)) < 2


def test_a_small_difference_of_clocks_is_not_logged(caplog):
    @counting
    async def run(made):
        made.api.put("one", 5)
        made.start(now=lambda: made.api.now() + timedelta(seconds=3))
        for _ in range(5):
            await made.advance(1)
            made.api.put("one", 5)
        await made.settle()

    run()
    assert "clock" not in caplog.text


def test_renewals_that_arrive_late_are_no_difference_of_clocks(caplog):
    @counting
    async def run(made):
        made.api.put("one")
        made.start()
        await made.settle()
        for age_s in (90, 0.1, 60, 0.1):
            made.api.put("one", age_s)
            await made.settle()

    run()
    assert "clock" not in caplog.text


def test_a_lease_of_the_past_counts_from_its_next_renewal():
    @counting
    async def run(made):
        made.api.put("one", 100)
        made.api.put("two", 100)
        made.start()
        await made.settle()
        assert made.count == 1
        made.api.put("one", 85)
        made.api.put("two", 85)
        await made.settle()
        assert made.count == 2

    run()

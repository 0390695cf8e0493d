"""Token reviews under way: one review for all agents that show the same token, and a bounded number at one time.

Owns the queue of tokens that wait for their review and the tasks that run reviews. Does not know which tokens are
accepted: a review ends with the verdict that the injected `judge` returns.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from konnectivity.metrics.histograms import Histogram
from konnectivity.runtime import task_guard
from konnectivity_server.agents.review_queue import Lane, QueuedReview, ReviewQueue
from konnectivity_server.agents.token_history import ShownToken, TokenHistory
from konnectivity_server.agents.token_rules import BUSY, FAILED, TokenVerdict

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Judge = Callable[[ShownToken, Callable[[], None]], Awaitable[TokenVerdict]]
"""Reviews a token, and calls its second argument when the request for it is sent."""


@dataclass(frozen=True, slots=True)
class ReviewLimits:
    """Limits of the token checks in one process.

    Args:
        check_timeout_s: seconds that one agent waits for its verdict, the review included.
        reviews: reviews under way at one time; other requests of this process go to the same API.
        before_turn: of these, reviews that wait for --kubeconfig-qps to let their request go out.
        checks_per_connection: checks under way for one TCP connection.
        waiting: agents that wait for a verdict, and tokens that wait for their review.
        waiting_bytes: bytes of the tokens that wait for their review.
        remembered: verdicts, tokens and sources that are remembered, of each kind.
        remembered_bytes: memory of these, in bytes, of each kind.

    """

    check_timeout_s: float = 10.0
    reviews: int = 10
    before_turn: int = 2
    checks_per_connection: int = 16
    waiting: int = 10_000
    waiting_bytes: int = 16 * 1024 * 1024
    remembered: int = 10_000
    remembered_bytes: int = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Review:
    """The review of one token, and the number of agents that wait for its verdict."""

    shown: ShownToken
    began: float
    done: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0
    verdict: TokenVerdict | None = None  # None at the end: the review raised an unexpected exception


class TokenReviews:
    """Reviews of tokens, shared by all agents that show the same token.

    Args:
        judge: reviews a token.
        history: decides the lane of a token, and learns which tokens gave up before their review.
        tasks: group in which reviews run.
        reached: counts the limits that agents reach, by name.
        limits: limits of the token checks.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        judge: Judge,
        history: TokenHistory,
        tasks: asyncio.TaskGroup,
        reached: Counter[str],
        limits: ReviewLimits,
        clock: Callable[[], float],
    ) -> None:
        self.begun = 0
        self.shared = 0  # checks that another agent's review answered
        self.seconds = Histogram(LATENCY_BOUNDS)  # duration of reviews, including the wait for a turn
        self._judge = judge
        self._history = history
        self._tasks = tasks
        self._reached = reached
        self._limits = limits
        self._clock = clock
        self._under_way: dict[bytes, QueuedReview[_Review]] = {}  # by the token's digest, at most as many as may wait
        self._queue: ReviewQueue[_Review] = ReviewQueue(limits.waiting, limits.waiting_bytes)
        self._free = limits.reviews
        self._before_turn = 0  # reviews that have a slot, and whose request is not sent yet

    def __len__(self) -> int:
        """Return the number of tokens that wait for their review or are being reviewed."""
        return len(self._under_way)

    @property
    def queued(self) -> int:
        """Number of tokens that wait for their review."""
        return len(self._queue)

    def full(self, shown: ShownToken, waiting: int) -> bool:
        """Return whether one more agent may not wait for the review that is under way for its token.

        Args:
            shown: the agent's token.
            waiting: number of agents that wait for a verdict.

        """
        # The review queue alone decides about agents within the limit and about tokens that are not under review.
        if waiting < self._limits.waiting or shown.digest not in self._under_way:
            return False
        return waiting >= 2 * self._limits.waiting or self._history.lane(shown) is not Lane.PROVEN

    async def verdict(self, shown: ShownToken) -> TokenVerdict:
        """Return the verdict of the review that is under way for a token, or of a new one."""
        entry = self._under_way.get(shown.digest)
        if entry is None:
            entry = self._begin(shown)
        else:
            self.shared += 1
        review = entry.item
        review.waiters += 1
        try:
            await review.done.wait()
        finally:
            review.waiters -= 1
            if not review.waiters and self._queue.remove(entry):  # no agent waits for the review any more
                del self._under_way[shown.digest]
        return review.verdict or TokenVerdict("", FAILED)

    def _begin(self, shown: ShownToken) -> QueuedReview[_Review]:
        """Let a token wait for its review."""
        lane = self._history.lane(shown)
        entry: QueuedReview[_Review] = QueuedReview(lane, shown.source, shown.connection, len(shown.token))
        entry.item = _Review(shown, self._clock())
        self._under_way[shown.digest] = entry
        for dropped in self._queue.add(entry):
            self._reached["token_checks"] += 1
            self._history.waited_in_vain(dropped.item.shown.digest)
            self._end(dropped.item, TokenVerdict("", BUSY))
        self._grant()
        return entry

    def _grant(self) -> None:
        """Start the reviews whose turn it is. A started review ends with a verdict, even if no agent waits for it."""
        while self._free and self._before_turn < self._limits.before_turn and (entry := self._queue.take()) is not None:
            self._free -= 1
            self._before_turn += 1
            task_guard.start(self._tasks, functools.partial(self._run, entry.item), "token review")

    async def _run(self, review: _Review) -> None:
        verdict = None
        waits = True

        def sent() -> None:
            nonlocal waits
            if waits:
                waits = False
                self._before_turn -= 1
                self._grant()

        try:
            self.begun += 1
            verdict = await self._judge(review.shown, sent)
        finally:
            sent()
            self.seconds.observe(self._clock() - review.began)
            self._end(review, verdict)
            self._free += 1
            self._grant()

    def _end(self, review: _Review, verdict: TokenVerdict | None) -> None:
        """Hand the verdict to every agent that waits for it."""
        del self._under_way[review.shown.digest]
        review.verdict = verdict
        review.done.set()

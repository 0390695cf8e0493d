"""Who an agent is: its service account token, reviewed by the Kubernetes API.

Owns the cache of verdicts and the queue before the API (`review_queue`): a burst of agents is no burst there, and
tokens that a stranger makes up keep no honest agent out. Does not know what an agent may do, nor how the API is
reached. A failure here refuses one agent and touches nothing else.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube.api_error import KubeError
from konnectivity.metrics.histograms import Histogram
from konnectivity.net.source_address import source_of
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.untrusted.bounded_map import BoundedMap
from konnectivity_server.agents.credential_identity import Account, Pod, pod_of
from konnectivity_server.agents.review_queue import Lane, QueuedReview, ReviewQueue
from konnectivity_server.agents.token_claims import Claims, claims_of

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review
    from konnectivity.kube.api_client import KubeClient

log = logs.get_peer_log(__name__)

AUTHORIZATION = "authorization"
BEARER = "Bearer "
ACCEPTED_FOR_S = 60.0
REFUSED_FOR_S = 10.0
CHECK_TIMEOUT_S = 10.0  # for one agent: its turn, and the review
MAX_REVIEWS = 10  # at a time; others of this process want to reach the API too
MAX_BEFORE_TURN = 2  # of these, as long as --kubeconfig-qps holds up their request: first come, first served
MAX_TOKEN = 8 * 1024  # characters
MAX_CHECKS = 16  # of one connection at a time
MAX_WAITING = 10_000  # agents that wait for a verdict, and tokens that wait for their review
MAX_WAITING_BYTES = 16 * 1024 * 1024  # of the tokens that wait for their review
MAX_REMEMBERED = 10_000  # verdicts, reasons in the log, tokens and sources that were accepted before, ...
MAX_REMEMBERED_BYTES = 8 * 1024 * 1024  # of each of these
KNOWN_FOR_S = 24 * 3600.0  # after a token was accepted: it, its service account and its source come first
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class TokenRefusal(NamedTuple):
    """Why not: `reason` is a metric label, `text` is for the agent, `detail` for the log."""

    reason: str
    text: str
    detail: str = ""
    code: Code = Code.UNKNOWN


class TokenVerdict(NamedTuple):
    """What was found out about a token: a user, or a refusal."""

    user: str
    refusal: TokenRefusal | None = None
    pod: Pod | None = None


class _ShownToken(NamedTuple):
    """A token that an agent shows now."""

    token: str
    digest: bytes
    claims: Claims
    source: str
    connection: str


@dataclass(slots=True, eq=False)
class _Review:
    """The review of one token, and how many agents wait for its verdict."""

    shown: _ShownToken
    began: float
    done: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0
    verdict: TokenVerdict | None = None  # None at the end: it failed unexpectedly


class _Known:
    """What accepted tokens, and tokens that waited in vain, have in common with one that is shown now.

    Owns what decides a token's lane. Bounded, whatever strangers show.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = _remembered()  # with the time until which it is remembered
        self._account_uids = _remembered()
        self._sources = _remembered()
        self._in_vain = _remembered()

    def accepted(self, shown: _ShownToken, account_uid: str) -> None:
        until = self._clock() + KNOWN_FOR_S
        self._tokens[shown.digest] = until
        self._sources[shown.source] = until
        self._in_vain.pop(shown.digest)
        if account_uid:
            self._account_uids[account_uid] = until

    def refused(self, shown: _ShownToken) -> None:
        self._tokens.pop(shown.digest)
        self._in_vain.pop(shown.digest)

    def waited_in_vain(self, digest: bytes) -> None:
        self._in_vain[digest] = self._clock() + KNOWN_FOR_S

    def lane(self, shown: _ShownToken, expected: Expected) -> Lane:
        """Return the lane of a token."""
        ours = expected.named_by(shown.claims)
        if self._holds(self._tokens, shown.digest) or (
            ours and self._holds(self._account_uids, shown.claims.account_uid)
        ):
            return Lane.PROVEN
        if self._holds(self._in_vain, shown.digest):
            return Lane.CLAIMS_RETURNING if ours else Lane.RETURNING
        if self._holds(self._sources, shown.source):
            return Lane.CLAIMS_KNOWN_SOURCE if ours else Lane.KNOWN_SOURCE
        return Lane.CLAIMS if ours else Lane.UNKNOWN

    def _holds(self, known: BoundedMap[str | bytes, float], key: str | bytes) -> bool:
        until = known.get(key)
        return until is not None and self._clock() < until


def _remembered() -> BoundedMap[str | bytes, float]:
    return BoundedMap(MAX_REMEMBERED, MAX_REMEMBERED_BYTES)


def _wall_clock() -> float:
    return datetime.now(UTC).timestamp()


class TokenAuthenticator:
    """Accepts the tokens of one service account, made for one audience.

    Args:
        client: asks the API.
        tasks: where reviews run.
        namespace, service_account: whose tokens.
        audience: what they have to be for.
        reached: counts the limits that agents reach, by name.
        clock, wall_clock: seconds; monotonic, and since 1970.

    """

    def __init__(
        self,
        client: KubeClient,
        tasks: asyncio.TaskGroup,
        namespace: str,
        service_account: str,
        audience: str,
        reached: Counter[str] | None = None,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = _wall_clock,
    ) -> None:
        self.reviews = 0  # asked of the API
        self.cache_hits = 0
        self.shared = 0  # checks that another agent's review answered
        self.refused: dict[str, int] = {}  # by reason
        self.seconds = Histogram(LATENCY_BOUNDS)  # of reviews, with the wait for a turn
        self._client = client
        self._tasks = tasks
        self._expected = Expected(namespace, service_account, audience)
        self._reached: Counter[str] = Counter() if reached is None else reached
        self._clock = clock
        self._wall_clock = wall_clock
        self._verdicts: BoundedMap[bytes, tuple[TokenVerdict, float]] = BoundedMap(MAX_REMEMBERED, MAX_REMEMBERED_BYTES)
        self._under_way: dict[bytes, QueuedReview[_Review]] = {}  # by the token's digest; no more than wait
        self._queue: ReviewQueue[_Review] = ReviewQueue(MAX_WAITING, MAX_WAITING_BYTES)
        self._free = MAX_REVIEWS
        self._before_turn = 0  # reviews that have a slot, and not yet their turn for a request
        self._waiting = 0
        self._checks: Counter[str] = Counter()  # under way, by connection
        self._known = _Known(clock)
        self._logged = LoggedReasons()  # refusals, by agent

    async def check(self, metadata: Metadata, peer: Peer) -> Account:
        """Return the account of the agent at `peer`.

        Raises:
            RpcError: UNKNOWN, it is refused, or could not be checked; UNAVAILABLE, too many at once: come back.

        """
        agent_id = metadata.get("agentid")
        token = token_of(metadata)
        if isinstance(token, TokenRefusal) and token.reason == "length":
            self._reached["token_length"] += 1
        verdict = TokenVerdict("", token) if isinstance(token, TokenRefusal) else await self._verdict(token, peer)
        if verdict.refusal is None:
            self._logged.clear(agent_id)
            return Account(verdict.user, verdict.pod)
        refusal = verdict.refusal
        self.refused[refusal.reason] = self.refused.get(refusal.reason, 0) + 1
        self._tell(agent_id, peer, refusal)
        raise RpcError(refusal.code, refusal.text)

    async def _verdict(self, token: str, peer: Peer) -> TokenVerdict:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._kept(digest)
        if known is not None:
            return known
        shown = _ShownToken(token, digest, claims_of(token), source_of(peer.address), peer.address)
        if self._full(shown):
            return TokenVerdict("", _BUSY)
        with self._counted(peer.address):
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    return await self._found(shown)
            except TimeoutError:
                self._known.waited_in_vain(digest)
                return TokenVerdict("", _BUSY)

    def _full(self, shown: _ShownToken) -> bool:
        """Return whether nobody may wait any more: on this connection, or at all."""
        if self._checks[shown.connection] >= MAX_CHECKS:
            self._reached["token_checks_per_connection"] += 1
            return True
        under_way = self._under_way.get(shown.digest)
        if self._waiting < MAX_WAITING or under_way is None:  # alone: the queue decides who waits
            return False
        if self._waiting < 2 * MAX_WAITING and self._known.lane(shown, self._expected) is Lane.PROVEN:
            return False
        self._reached["token_checks"] += 1
        return True

    @contextmanager
    def _counted(self, connection: str) -> Iterator[None]:
        self._waiting += 1
        self._checks[connection] += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._checks[connection] -= 1
            if not self._checks[connection]:
                del self._checks[connection]

    def _kept(self, digest: bytes) -> TokenVerdict | None:
        """Return the verdict of an earlier review, while it is good."""
        known = self._verdicts.get(digest)
        if known is None or self._clock() >= known[1]:
            return None
        self.cache_hits += 1
        return known[0]

    async def _found(self, shown: _ShownToken) -> TokenVerdict:
        """Return the verdict of the review that is under way, or of a new one."""
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
            if not review.waiters and self._queue.remove(entry):  # nobody wants it any more
                del self._under_way[shown.digest]
        return review.verdict or TokenVerdict("", _FAILED)

    def _begin(self, shown: _ShownToken) -> QueuedReview[_Review]:
        """Let a token wait for its review."""
        lane = self._known.lane(shown, self._expected)
        entry: QueuedReview[_Review] = QueuedReview(lane, shown.source, shown.connection, len(shown.token))
        entry.item = _Review(shown, self._clock())
        self._under_way[shown.digest] = entry
        for dropped in self._queue.add(entry):
            self._reached["token_checks"] += 1
            self._known.waited_in_vain(dropped.item.shown.digest)
            self._end(dropped.item, TokenVerdict("", _BUSY))
        self._grant()
        return entry

    def _grant(self) -> None:
        """Start the reviews whose turn it is. One that has started ends with a verdict, whoever still waits for it."""
        while self._free and self._before_turn < MAX_BEFORE_TURN and (entry := self._queue.take()) is not None:
            self._free -= 1
            self._before_turn += 1
            task_guard.start(self._tasks, functools.partial(self._run, entry.item), "token review")

    async def _run(self, review: _Review) -> None:
        verdict = None
        waits = True

        def turn() -> None:
            nonlocal waits
            if waits:
                waits = False
                self._before_turn -= 1
                self._grant()

        try:
            verdict = await self._review(review.shown, turn)
        finally:
            turn()
            self.seconds.observe(self._clock() - review.began)
            self._end(review, verdict)
            self._free += 1
            self._grant()

    def _end(self, review: _Review, verdict: TokenVerdict | None) -> None:
        """Tell everyone who waits."""
        del self._under_way[review.shown.digest]
        review.verdict = verdict
        review.done.set()

    async def _review(self, shown: _ShownToken, on_turn: Callable[[], None]) -> TokenVerdict:
        self.reviews += 1
        try:
            answer = await self._client.review_token(shown.token, self._expected.audience, on_turn)
        except KubeError as error:
            if error.reason == "Throttled":
                self._known.waited_in_vain(shown.digest)
            return TokenVerdict("", _failure(error))  # not kept: the next agent asks again
        refusal = self._expected.refusal(answer)
        verdict = TokenVerdict(answer.user, refusal, pod_of(self._expected.namespace, answer.extra))
        if refusal is not None:
            self._known.refused(shown)
            self._keep(shown.digest, verdict, REFUSED_FOR_S)
        else:
            self._known.accepted(shown, answer.uid)
            ends = shown.claims.expires
            left = ACCEPTED_FOR_S if ends is None else ends - self._wall_clock()
            self._keep(shown.digest, verdict, min(ACCEPTED_FOR_S, left))
        return verdict

    def _keep(self, digest: bytes, verdict: TokenVerdict, seconds: float) -> None:
        self._verdicts[digest] = verdict, self._clock() + seconds

    def _tell(self, agent_id: str, peer: Peer, refusal: TokenRefusal) -> None:
        """Log a refusal: one line for an agent, another one when the reason changes, and not too many for a source."""
        reason = refusal.detail or refusal.text
        if self._logged.record(agent_id, reason):
            log.warning(source_of(peer.address), "Agent refused", agent=agent_id, peer=peer.name, reason=reason)


class Expected(NamedTuple):
    """Whose tokens are accepted, and for what they have to be. Pure."""

    namespace: str
    service_account: str
    audience: str

    def named_by(self, claims: Claims) -> bool:
        """Return whether a token says that it is one of those."""
        account = (claims.namespace, claims.account)
        return self.audience in claims.audiences and account == (self.namespace, self.service_account)

    def refusal(self, review: Review) -> TokenRefusal | None:
        """What is wrong with a reviewed token; None: nothing."""
        if review.error:
            return TokenRefusal("invalid", f"the token is not valid: {review.error[:300]}")
        if not review.authenticated:
            return TokenRefusal("invalid", "the token is not valid")
        if self.audience not in review.audiences:
            # An API that knows no audiences names none: then nobody has checked what the token is for.
            return TokenRefusal("audience", f"the token is not for the audience {self.audience!r}")
        parts = review.user.split(":")
        if len(parts) != 4:
            return TokenRefusal("user", f"unexpected user name {review.user!r}")
        if parts[:2] != ["system", "serviceaccount"]:
            return TokenRefusal("user", f"user {review.user!r} is no service account")
        if parts[2] != self.namespace:
            return TokenRefusal(
                "namespace", f"the service account is of namespace {parts[2]!r}, not {self.namespace!r}"
            )
        if parts[3] != self.service_account:
            return TokenRefusal("service_account", f"the service account is {parts[3]!r}, not {self.service_account!r}")
        return None


def token_of(metadata: Metadata) -> str | TokenRefusal:
    """The token that an agent sent."""
    values = metadata.get_all(AUTHORIZATION)
    if not values:
        return TokenRefusal("missing", "Authentication context was not found in metadata")
    if len(values) > 1:
        return TokenRefusal("several", f"too many ({len(values)}) tokens are received")
    if len(values[0]) > MAX_TOKEN:
        text = f"the token has {len(values[0])} characters; at most {MAX_TOKEN} are allowed"
        return TokenRefusal("length", text)
    token = values[0].removeprefix(BEARER).strip()
    if not values[0].startswith(BEARER) or not token:
        return TokenRefusal("scheme", f"the token has to follow {BEARER!r}")
    if not (token.isascii() and token.isprintable()):
        return TokenRefusal("scheme", "the token has characters that no token has")
    return token


_BUSY = TokenRefusal("busy", "too many agents at once, come back later", code=Code.UNAVAILABLE)

_FAILED = TokenRefusal("error", "the server could not check the token; its log says more")


def _failure(error: KubeError) -> TokenRefusal:
    what = f"{error.code} {error.reason}" if error.code else error.reason
    text = f"the Kubernetes API could not check the token ({what}); the proxy server's log says more"
    busy = error.code == 429 or error.reason == "Throttled"
    return TokenRefusal("api", text, f"cannot check the token: {error}", Code.UNAVAILABLE if busy else Code.UNKNOWN)

"""Who an agent is: its service account token, reviewed by the Kubernetes API.

Owns the cache of verdicts and the queue before the API, so that a burst of agents is no burst there. Does not know what
an agent may do, nor how the API is reached. A failure here refuses one agent and touches nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from konnectivity import logs
from konnectivity.counters import Histogram
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.kube.error import KubeError
from konnectivity_server.identity import Account, Pod, pod_of

if TYPE_CHECKING:
    from konnectivity.kube.client import KubeClient, Review

log = logs.get(__name__)

AUTHORIZATION = "authorization"
BEARER = "Bearer "
ACCEPTED_FOR_S = 60.0
REFUSED_FOR_S = 10.0
CHECK_TIMEOUT_S = 10.0  # for one agent: its turn, and the review
MAX_REVIEWS = 10  # at a time; others of this process want to reach the API too
MAX_WAITING = 10_000
MAX_VERDICTS = 10_000
MAX_TOLD = 10_000
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Refusal(NamedTuple):
    """Why not: `reason` is a metric label, `text` is for the agent, `detail` for the log."""

    reason: str
    text: str
    detail: str = ""
    code: Code = Code.UNKNOWN


class Verdict(NamedTuple):
    """What was found out about a token: a user, or a refusal."""

    user: str
    refusal: Refusal | None = None
    pod: Pod | None = None


@dataclass(slots=True)
class _Review:
    """A review under way, and everyone who waits for it. Without a verdict at the end: whoever did it gave up."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: Verdict | None = None


def _wall_clock() -> float:
    return datetime.now(UTC).timestamp()


class TokenAuthenticator:
    """Accepts the tokens of one service account, made for one audience.

    Args:
        client: asks the API.
        namespace, service_account: whose tokens.
        audience: what they have to be for.
        clock, wall_clock: seconds; monotonic, and since 1970.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        service_account: str,
        audience: str,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = _wall_clock,
    ) -> None:
        self.reviews = 0  # asked of the API
        self.cache_hits = 0
        self.shared = 0  # checks that another agent's review answered
        self.refused: dict[str, int] = {}  # by reason
        self.seconds = Histogram(LATENCY_BOUNDS)  # of reviews, with the wait for a turn
        self._client = client
        self._expected = Expected(namespace, service_account, audience)
        self._clock = clock
        self._wall_clock = wall_clock
        self._verdicts: dict[bytes, tuple[Verdict, float]] = {}  # with the time it is good until
        self._under_way: dict[bytes, _Review] = {}
        self._slots = asyncio.Semaphore(MAX_REVIEWS)
        self._waiting = 0
        self._told: dict[str, str] = {}  # agents in the log as refused, and why

    async def check(self, metadata: Metadata) -> Account:
        """Who the agent is.

        Raises:
            RpcError: UNKNOWN, it is refused, or could not be checked; UNAVAILABLE, too many at once: come back.
        """
        agent_id = metadata.get("agentid")
        token = token_of(metadata)
        verdict = Verdict("", token) if isinstance(token, Refusal) else await self._verdict(token)
        if verdict.refusal is None:
            self._told.pop(agent_id, None)
            return Account(verdict.user, verdict.pod)
        refusal = verdict.refusal
        self.refused[refusal.reason] = self.refused.get(refusal.reason, 0) + 1
        self._tell(agent_id, refusal)
        raise RpcError(refusal.code, refusal.text)

    async def _verdict(self, token: str) -> Verdict:
        if self._waiting >= MAX_WAITING:
            return Verdict("", _BUSY)
        key = hashlib.sha256(token.encode()).digest()
        self._waiting += 1
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await self._found(key, token)
        except TimeoutError:
            return Verdict("", _BUSY)
        finally:
            self._waiting -= 1

    async def _found(self, key: bytes, token: str) -> Verdict:
        """The verdict: known, or of a review that is under way, or of our own."""
        while True:
            known = self._verdicts.get(key)
            if known is not None and self._clock() < known[1]:
                self.cache_hits += 1
                return known[0]
            other = self._under_way.get(key)
            if other is None:
                return await self._lead(key, token)
            await other.done.wait()
            if other.verdict is not None:
                self.shared += 1
                return other.verdict

    async def _lead(self, key: bytes, token: str) -> Verdict:
        """Review a token for everyone who asks for it meanwhile."""
        review = self._under_way[key] = _Review()
        try:
            review.verdict = await self._review(key, token)
        finally:
            del self._under_way[key]
            review.done.set()
        return review.verdict

    async def _review(self, key: bytes, token: str) -> Verdict:
        began = self._clock()
        async with self._slots:
            self.reviews += 1
            try:
                answer = await self._client.review_token(token, self._expected.audience)
            except KubeError as error:
                return Verdict("", _failure(error))  # not kept: the next agent asks again
            finally:
                self.seconds.observe(self._clock() - began)
        refusal = self._expected.refusal(answer)
        verdict = Verdict(answer.user, refusal, pod_of(self._expected.namespace, answer.extra))
        if refusal is not None:
            self._keep(key, verdict, REFUSED_FOR_S)
        else:
            ends = expiry(token)
            left = ACCEPTED_FOR_S if ends is None else ends - self._wall_clock()
            self._keep(key, verdict, min(ACCEPTED_FOR_S, left))
        return verdict

    def _keep(self, key: bytes, verdict: Verdict, seconds: float) -> None:
        self._verdicts.pop(key, None)
        while len(self._verdicts) >= MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]  # the oldest
        self._verdicts[key] = verdict, self._clock() + seconds

    def _tell(self, agent_id: str, refusal: Refusal) -> None:
        """One line for an agent, and another one when the reason changes."""
        reason = refusal.detail or refusal.text
        if self._told.get(agent_id) == reason:
            return
        self._told.pop(agent_id, None)
        while len(self._told) >= MAX_TOLD:
            del self._told[next(iter(self._told))]
        self._told[agent_id] = reason
        log.warning("Agent refused", agent=agent_id, reason=reason)


class Expected(NamedTuple):
    """Whose tokens are accepted, and for what they have to be. Pure."""

    namespace: str
    service_account: str
    audience: str

    def refusal(self, review: Review) -> Refusal | None:
        """What is wrong with a reviewed token; None: nothing."""
        if review.error:
            return Refusal("invalid", f"the token is not valid: {review.error[:300]}")
        if not review.authenticated:
            return Refusal("invalid", "the token is not valid")
        if self.audience not in review.audiences:
            # An API that knows no audiences names none: then nobody has checked what the token is for.
            return Refusal("audience", f"the token is not for the audience {self.audience!r}")
        parts = review.user.split(":")
        if len(parts) != 4:
            return Refusal("user", f"unexpected user name {review.user!r}")
        if parts[:2] != ["system", "serviceaccount"]:
            return Refusal("user", f"user {review.user!r} is no service account")
        if parts[2] != self.namespace:
            return Refusal("namespace", f"the service account is of namespace {parts[2]!r}, not {self.namespace!r}")
        if parts[3] != self.service_account:
            return Refusal("service_account", f"the service account is {parts[3]!r}, not {self.service_account!r}")
        return None


def token_of(metadata: Metadata) -> str | Refusal:
    """The token that an agent sent."""
    values = metadata.get_all(AUTHORIZATION)
    if not values:
        return Refusal("missing", "Authentication context was not found in metadata")
    if len(values) > 1:
        return Refusal("several", f"too many ({len(values)}) tokens are received")
    token = values[0].removeprefix(BEARER).strip()
    if not values[0].startswith(BEARER) or not token:
        return Refusal("scheme", f"the token has to follow {BEARER!r}")
    if not (token.isascii() and token.isprintable()):
        return Refusal("scheme", "the token has characters that no token has")
    return token


def expiry(token: str) -> float | None:
    """When a token says that it ends, in seconds since 1970; None if it is no JWT that says so. Nothing is verified."""
    with suppress(ValueError, IndexError, TypeError, KeyError, OverflowError, RecursionError):
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    return None


_BUSY = Refusal("busy", "too many agents at once, come back later", code=Code.UNAVAILABLE)


def _failure(error: KubeError) -> Refusal:
    what = f"{error.code} {error.reason}" if error.code else error.reason
    text = f"the Kubernetes API could not check the token ({what}); the proxy server's log says more"
    busy = error.code == 429 or error.reason == "Throttled"
    return Refusal("api", text, f"cannot check the token: {error}", Code.UNAVAILABLE if busy else Code.UNKNOWN)

"""Authentication of agents by service account token, reviewed by the Kubernetes API.

Owns the cache of verdicts, the limits on checks and the log of refusals. A burst of agents is no burst at the API, and
tokens that a stranger makes up keep no honest agent out. Does not know what an agent may do, nor how the API is
reached. A failure here refuses one agent and touches nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import RpcError
from konnectivity.kube.api_error import KubeError
from konnectivity.metrics.histograms import Histogram
from konnectivity.net.source_address import source_of
from konnectivity.runtime import logs
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.untrusted.bounded_map import BoundedMap
from konnectivity_server.agents.credential_identity import Account, pod_of
from konnectivity_server.agents.token_claims import claims_of
from konnectivity_server.agents.token_history import ShownToken, TokenHistory
from konnectivity_server.agents.token_reviews import ReviewLimits, TokenReviews
from konnectivity_server.agents.token_rules import (
    BUSY,
    ExpectedAccount,
    TokenRefusal,
    TokenVerdict,
    refusal_of_error,
    token_of,
)

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Review

log = logs.get_peer_log(__name__)

ACCEPTED_FOR_S = 60.0
REFUSED_FOR_S = 10.0


class TokenReviewer(Protocol):
    """Client of an API that reviews tokens."""

    def review_token(self, token: str, audience: str, on_turn: Callable[[], object]) -> Awaitable[Review]:
        """Return whose token it is and whether it is for an audience; call `on_turn` when the request is sent.

        Raises:
            KubeError: the API did not review the token.

        """


def _wall_clock() -> float:
    return datetime.now(UTC).timestamp()


class TokenAuthenticator:
    """Authenticator of the tokens of one service account, made for one audience.

    Args:
        client: asks the API.
        tasks: group in which reviews run.
        namespace: namespace of the service account.
        service_account: name of the service account.
        audience: audience that tokens must be for.
        reached: counts the limits that agents reach, by name.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        limits: limits of the token checks.
        peer_log: log for the lines about refusals.

    """

    def __init__(
        self,
        client: TokenReviewer,
        tasks: asyncio.TaskGroup,
        namespace: str,
        service_account: str,
        audience: str,
        reached: Counter[str] | None = None,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = _wall_clock,
        limits: ReviewLimits | None = None,
        peer_log: logs.PeerLog = log,
    ) -> None:
        self.cache_hits = 0
        self.refused: dict[str, int] = {}  # by reason
        self._client = client
        self._expected = ExpectedAccount(namespace, service_account, audience)
        self._reached: Counter[str] = Counter() if reached is None else reached
        self._limits = limits = limits or ReviewLimits()
        self._clock = clock
        self._wall_clock = wall_clock
        self._verdicts: BoundedMap[bytes, tuple[TokenVerdict, float]] = BoundedMap(
            limits.remembered, limits.remembered_bytes
        )
        self._history = TokenHistory(self._expected, clock, limits.remembered, limits.remembered_bytes)
        self._reviews = TokenReviews(self._review, self._history, tasks, self._reached, limits, clock)
        self._waiting = 0
        self._checks: Counter[str] = Counter()  # checks under way, by connection
        self._log = peer_log
        self._logged = LoggedReasons()  # refusals, by agent

    @property
    def reviews(self) -> int:
        """Number of reviews that the API was asked for."""
        return self._reviews.begun

    @property
    def shared(self) -> int:
        """Number of checks that another agent's review answered."""
        return self._reviews.shared

    @property
    def seconds(self) -> Histogram:
        """Seconds that reviews took, with the wait for a turn."""
        return self._reviews.seconds

    async def check(self, metadata: Metadata, peer: Peer) -> Account:
        """Return the authenticated account of the agent at `peer`.

        Raises:
            RpcError: UNKNOWN, the token is refused or could not be reviewed; UNAVAILABLE, too many tokens wait.

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
        self._log_refusal(agent_id, peer, refusal)
        raise RpcError(refusal.code, refusal.text)

    async def _verdict(self, token: str, peer: Peer) -> TokenVerdict:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._cached(digest)
        if known is not None:
            return known
        shown = ShownToken(token, digest, claims_of(token), source_of(peer.address), peer.address)
        if self._full(shown):
            return TokenVerdict("", BUSY)
        with self._counted(peer.address):
            try:
                async with asyncio.timeout(self._limits.check_timeout_s):
                    return await self._reviews.verdict(shown)
            except TimeoutError:
                self._history.waited_in_vain(digest)
                return TokenVerdict("", BUSY)

    def _full(self, shown: ShownToken) -> bool:
        """Return whether no more agents may wait, on this connection or in the whole process; count it."""
        if self._checks[shown.connection] >= self._limits.checks_per_connection:
            self._reached["token_checks_per_connection"] += 1
            return True
        full = self._reviews.full(shown, self._waiting)
        if full:
            self._reached["token_checks"] += 1
        return full

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

    def _cached(self, digest: bytes) -> TokenVerdict | None:
        """Return the verdict of an earlier review that still holds, or None."""
        known = self._verdicts.get(digest)
        if known is None or self._clock() >= known[1]:
            return None
        self.cache_hits += 1
        return known[0]

    async def _review(self, shown: ShownToken, on_turn: Callable[[], None]) -> TokenVerdict:
        try:
            answer = await self._client.review_token(shown.token, self._expected.audience, on_turn)
        except KubeError as error:
            if error.reason == "Throttled":
                self._history.waited_in_vain(shown.digest)
            return TokenVerdict("", refusal_of_error(error))  # not cached: the next agent is reviewed again
        refusal = self._expected.refusal(answer)
        verdict = TokenVerdict(answer.user, refusal, pod_of(self._expected.namespace, answer.extra))
        if refusal is not None:
            self._history.refused(shown)
            self._cache(shown.digest, verdict, REFUSED_FOR_S)
        else:
            self._history.accepted(shown, answer.uid)
            ends = shown.claims.expires
            left = ACCEPTED_FOR_S if ends is None else ends - self._wall_clock()
            self._cache(shown.digest, verdict, min(ACCEPTED_FOR_S, left))
        return verdict

    def _cache(self, digest: bytes, verdict: TokenVerdict, seconds: float) -> None:
        self._verdicts[digest] = verdict, self._clock() + seconds

    def _log_refusal(self, agent_id: str, peer: Peer, refusal: TokenRefusal) -> None:
        """Log a refusal: one line for an agent, another one when the reason changes, and not too many for a source."""
        reason = refusal.detail or refusal.text
        if self._logged.record(agent_id, reason):
            self._log.warning(source_of(peer.address), "Agent refused", agent=agent_id, peer=peer.name, reason=reason)

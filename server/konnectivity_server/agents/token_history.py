"""History of tokens: accepted tokens, their accounts and sources, and tokens that were never reviewed. Pure.

Owns the choice of a token's lane in the review queue. Bounded, whatever tokens strangers show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from konnectivity.untrusted.bounded_map import BoundedMap
from konnectivity_server.agents.review_queue import Lane
from konnectivity_server.agents.token_claims import Claims
from konnectivity_server.agents.token_rules import ExpectedAccount

KNOWN_FOR_S = 24 * 3600.0  # an accepted token, its service account and its source come first for this long


class ShownToken(NamedTuple):
    """Token that an agent shows now, with its unverified claims."""

    token: str
    digest: bytes
    claims: Claims
    source: str  # address without the port
    connection: str  # address with the port


class TokenHistory:
    """History of accepted tokens, and of tokens that gave up before their review, for the order of later reviews.

    Args:
        expected: the account whose tokens are accepted.
        clock: monotonic seconds.
        max_entries: number of entries of each kind.
        max_bytes: memory of the entries of each kind.

    """

    def __init__(self, expected: ExpectedAccount, clock: Callable[[], float], max_entries: int, max_bytes: int) -> None:
        self._expected = expected
        self._clock = clock
        # Each value is the time until which the entry counts.
        self._tokens: BoundedMap[bytes, float] = BoundedMap(max_entries, max_bytes)
        self._account_uids: BoundedMap[str, float] = BoundedMap(max_entries, max_bytes)
        self._sources: BoundedMap[str, float] = BoundedMap(max_entries, max_bytes)
        self._in_vain: BoundedMap[bytes, float] = BoundedMap(max_entries, max_bytes)

    def accepted(self, shown: ShownToken, account_uid: str) -> None:
        """Remember an accepted token, its source and the uid of its service account."""
        until = self._clock() + KNOWN_FOR_S
        self._tokens[shown.digest] = until
        self._sources[shown.source] = until
        self._in_vain.pop(shown.digest)
        if account_uid:
            self._account_uids[account_uid] = until

    def refused(self, shown: ShownToken) -> None:
        """Forget a token that was refused."""
        self._tokens.pop(shown.digest)
        self._in_vain.pop(shown.digest)

    def waited_in_vain(self, digest: bytes) -> None:
        """Remember a token that got no review in time, so that it comes earlier the next time."""
        self._in_vain[digest] = self._clock() + KNOWN_FOR_S

    def lane(self, shown: ShownToken) -> Lane:
        """Return the lane of a token in the review queue."""
        ours = self._expected.named_by(shown.claims)
        if self._holds(self._tokens.get(shown.digest)):
            return Lane.PROVEN
        if ours and self._holds(self._account_uids.get(shown.claims.account_uid)):
            return Lane.PROVEN
        if self._holds(self._in_vain.get(shown.digest)):
            return Lane.CLAIMS_RETURNING if ours else Lane.RETURNING
        if self._holds(self._sources.get(shown.source)):
            return Lane.CLAIMS_KNOWN_SOURCE if ours else Lane.KNOWN_SOURCE
        return Lane.CLAIMS if ours else Lane.UNKNOWN

    def _holds(self, until: float | None) -> bool:
        return until is not None and self._clock() < until

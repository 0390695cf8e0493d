"""Wrong passwords of clients of a forward proxy, by source and user, and the limit on them. Pure: the clock is given.

Owns a token bucket for each source and user that guessed wrong, at most MAX_GUESSERS. Does not know passwords.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.net.token_bucket import TokenBucket
from konnectivity.untrusted.bounded_map import BoundedMap

GUESSES = 10  # wrong passwords at once
GUESS_INTERVAL_S = 6.0  # seconds until one more may be tried
MAX_GUESSERS = 4096  # of which the count is kept
_MAX_BYTES = 4 * 1024 * 1024
_BUCKET_BYTES = 200  # memory of a token bucket


class TooManyGuesses(Exception):
    """Refusal to look at a password."""


class PasswordGuesses:
    """Wrong passwords of all clients.

    The key names the user as well as the source: programs of one machine share a source, and one of them with an old
    password must not lock out the others.

    Args:
        clock: seconds, monotonic.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: BoundedMap[str, TokenBucket] = BoundedMap(
            MAX_GUESSERS, _MAX_BYTES, lambda key, bucket: len(key) + _BUCKET_BYTES
        )

    def check(self, key: str) -> None:
        """Raise TooManyGuesses if no further password of this key may be tried now."""
        bucket = self._buckets.get(key)
        if bucket is not None and bucket.delay() > 0:
            raise TooManyGuesses("too many wrong passwords")

    def wrong(self, key: str) -> None:
        """Count a wrong password."""
        bucket = self._buckets.get(key) or TokenBucket(1 / GUESS_INTERVAL_S, GUESSES, self._clock)
        bucket.take()
        self._buckets[key] = bucket  # as the newest entry

"""What a hostile or broken peer may cost us before the connection ends. Owns the numbers, and what was spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from konnectivity.http2.frames import ConnectionFault, ErrorCode


@dataclass(frozen=True, slots=True)
class Limits:
    """Per connection. The defaults leave room for grpc-go's bandwidth probes (a PING a round trip)."""

    header_block_bytes: int = 64 * 1024  # compressed, HEADERS + CONTINUATION
    header_list_bytes: int = 32 * 1024  # decoded, as SETTINGS_MAX_HEADER_LIST_SIZE counts
    continuation_frames: int = 16  # in one header block
    cheap_frames_burst: int = 10_000  # frames that cost the peer little and move no data
    cheap_frames_per_s: int = 5_000
    unsent_replies: int = 10_000  # PING and SETTINGS acks, resets: queued because the peer does not read


class TokenBucket:
    """`burst` tokens, refilled at `rate` a second by the injected clock."""

    __slots__ = ("_burst", "_clock", "_rate", "_then", "_tokens")

    def __init__(self, burst: int, rate: int, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._tokens = float(burst)
        self._then = clock()

    def take(self, count: int = 1) -> bool:
        """Take tokens; False, and none taken, when there are not so many."""
        if self._tokens < count:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
            self._then = now
            if self._tokens < count:
                return False
        self._tokens -= count
        return True


class Costs:
    """What one peer has cost so far."""

    __slots__ = ("_cheap", "_most_unsent_replies", "unsent_replies")

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.unsent_replies = 0
        self._most_unsent_replies = limits.unsent_replies
        self._cheap = TokenBucket(limits.cheap_frames_burst, limits.cheap_frames_per_s, clock)

    def spend(self, count: int = 1) -> None:
        """On cheap frames.

        Raises:
            ConnectionFault: they come too fast.
        """
        if not self._cheap.take(count):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")

    def reply(self) -> None:
        """On an answer.

        Raises:
            ConnectionFault: too many wait for a peer that does not read.
        """
        self.unsent_replies += 1
        if self.unsent_replies > self._most_unsent_replies:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the peer asks for answers and does not read them")

"""What a hostile or broken peer may cost us before the connection ends. Owns the numbers, and what was spent.

docs/secure/limits.md has each of them beside those of the other layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from konnectivity.http2.frames import ConnectionFault, ErrorCode
from konnectivity.net.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Limits:
    """Per connection. The defaults leave room for grpc-go's bandwidth probes (a PING a round trip)."""

    header_block_bytes: int = 64 * 1024  # compressed, HEADERS + CONTINUATION
    header_list_bytes: int = 32 * 1024  # decoded, as SETTINGS_MAX_HEADER_LIST_SIZE counts
    header_fields: int = 100  # in one header block
    continuation_frames: int = 16  # in one header block
    cheap_frames_burst: int = 10_000  # frames that cost the peer little and move no data
    cheap_frames_per_s: int = 5_000
    unsent_replies: int = 10_000  # PING and SETTINGS acks, resets: queued because the peer does not read
    new_streams_burst: int = 1_000  # of a client; over it they are refused
    new_streams_per_s: int = 1_000  # 0: unlimited
    slow_down: bool = False  # a flood of cheap frames makes `Costs.overdue_s` grow and does not end the connection


_UNANSWERED_COST = 20  # in cheap frames: a request that is reset before it has an answer
_SHARED_UNANSWERED_COST = 2  # the same, of a peer that is slowed down
_REFUSED_COST = 5  # the same: one that we refuse, and HEADERS on a stream that was reset
_MOST_OVERDRAWN = 40_000  # of a peer that is slowed down: more than the cheap frames of one read
_FREE_FIELDS = 20  # of a header block cost nothing beside their frame: no gRPC call has more
_FIELDS_PER_FRAME = 2  # further fields that cost as much as a cheap frame


class Costs:
    """What one peer has cost so far. `reached` counts, by name, how often which limit ended it."""

    __slots__ = (
        "_cheap",
        "_most_earned",
        "_most_unsent_replies",
        "_slow_down",
        "_streams",
        "earned",
        "reached",
        "unsent_replies",
    )

    def __init__(self, limits: Limits, clock: Callable[[], float], reached: Counter[str] | None = None) -> None:
        self.unsent_replies = 0
        self.earned = 0  # WINDOW_UPDATE frames that what we sent makes plausible
        self.reached = Counter() if reached is None else reached
        self._most_unsent_replies = limits.unsent_replies
        self._most_earned = limits.cheap_frames_burst
        self._cheap = TokenBucket(limits.cheap_frames_per_s, limits.cheap_frames_burst, clock)
        self._slow_down = limits.slow_down
        self._streams = (
            TokenBucket(limits.new_streams_per_s, limits.new_streams_burst, clock) if limits.new_streams_per_s else None
        )

    def spend(self, count: int = 1) -> None:
        """Charge `count` cheap frames to the peer.

        Raises:
            ConnectionFault: the peer's budget is spent; of a peer that is slowed down, far overdrawn.

        """
        enough = self._cheap.overdraw(count) < _MOST_OVERDRAWN if self._slow_down else self._cheap.take(count)
        if not enough:
            raise self.fault("control_frames", "flood of control frames")

    def reset_by_peer(self, known: bool, answered: bool) -> None:
        """Charge a RST_STREAM of a stream that is open (`known`) and whose headers we sent (`answered`).

        Where a peer is slowed down and not cut, its users share the connection: they cancel many calls at once, and
        end all their connections at once.
        """
        if known and not answered:
            self.spend(_SHARED_UNANSWERED_COST if self._slow_down else _UNANSWERED_COST)
        elif not (known and self._slow_down):
            self.spend()

    @property
    def overdue_s(self) -> float:
        """Return for how many seconds nothing more should be read from a peer that is slowed down."""
        return self._cheap.overdue_s if self._slow_down else 0.0

    def sent(self, pieces: int) -> None:
        """So many pieces of frames went out: as many WINDOW_UPDATEs are no flood."""
        self.earned = min(self.earned + pieces, self._most_earned)

    def window_update(self) -> None:
        """One came. Raises as `spend` does."""
        if self.earned:
            self.earned -= 1
        else:
            self.spend()

    def new_stream(self) -> bool:
        """Whether the peer may open one more; if not, the refusal is spent on."""
        if self._streams is None or self._streams.take():
            return True
        self.reached["new_streams"] += 1
        self.spend(_REFUSED_COST)
        return False

    def header_fields(self, count: int) -> None:
        """Charge a header block of `count` fields. Raises as `spend` does."""
        if count > _FREE_FIELDS:
            self.spend((count - _FREE_FIELDS) // _FIELDS_PER_FRAME)

    def ignored_headers(self) -> None:
        """Charge a header block on a stream that is reset. Raises as `spend` does."""
        self.spend(_REFUSED_COST)

    def fault(self, limit: str, text: str) -> ConnectionFault:
        """What to raise when `limit` is reached, counted."""
        self.reached[limit] += 1
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)

    def replies_written(self) -> None:
        """Record that the peer's socket has taken all answers given so far."""
        self.unsent_replies = 0

    def reply(self) -> None:
        """Count one answer to a control frame.

        Raises:
            ConnectionFault: too many wait for a peer that does not read, and is not slowed down instead.

        """
        self.unsent_replies += 1
        if not self._slow_down and self.unsent_replies > self._most_unsent_replies:
            raise self.fault("unsent_replies", "the peer asks for answers and does not read them")

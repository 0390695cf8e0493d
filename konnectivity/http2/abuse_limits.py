"""Limits on what a hostile or broken peer may cost before its connection ends or is slowed down.

Owns the numbers, and the budget that one peer has left. Does not know frames or streams: it is told what they cost.
docs/secure/limits.md lists the limits of all layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from konnectivity.http2.frames import ConnectionFault, ErrorCode
from konnectivity.net.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection. The defaults leave room for grpc-go's bandwidth probes (one PING per round trip).

    A cheap frame costs the peer little and moves no data: PING, SETTINGS, PRIORITY, RST_STREAM, an empty DATA frame, a
    WINDOW_UPDATE that nothing sent explains, or a frame of unknown type.

    Attributes:
        header_block_bytes: compressed size of one header block (HEADERS and CONTINUATION).
        header_list_bytes: decoded size of one header block, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
        header_fields: number of fields in one header block.
        continuation_frames: number of frames in one header block.
        cheap_frames_burst: number of cheap frames at once.
        cheap_frames_per_s: number of cheap frames per second.
        unsent_replies: number of answers (PING and SETTINGS acks, resets) that may wait for a peer that does not read.
        new_streams_burst: number of streams that a client may open at once; further ones are refused.
        new_streams_per_s: number of streams that a client may open per second; 0: unlimited.
        slow_down: whether a flood of cheap frames makes `PeerCosts.overdue_s` grow instead of ending the connection.

    """

    header_block_bytes: int = 64 * 1024
    header_list_bytes: int = 32 * 1024
    header_fields: int = 100
    continuation_frames: int = 16
    cheap_frames_burst: int = 10_000
    cheap_frames_per_s: int = 5_000
    unsent_replies: int = 10_000
    new_streams_burst: int = 1_000
    new_streams_per_s: int = 1_000
    slow_down: bool = False


# PeerCosts in cheap frames.
_UNANSWERED_COST = 20  # a request that the client resets before it has an answer
_SHARED_UNANSWERED_COST = 2  # such a request of a peer that is slowed down
_REFUSED_COST = 5  # a refused request, or HEADERS on a stream that was reset
_MOST_OVERDRAWN = 40_000  # overdraft of a peer that is slowed down: more than the cheap frames of one read
_FREE_FIELDS = 20  # fields of a header block without a cost of their own: no gRPC call has more
_FIELDS_PER_FRAME = 2  # further fields that cost as much as one cheap frame


class PeerCosts:
    """Budget of one peer: what its frames have cost, and what it may still spend.

    Attributes:
        unsent_replies: number of answers since the peer's socket last took everything.
        earned: number of WINDOW_UPDATE frames that the frames sent to the peer explain.
        reached: counter of reached limits, by name.

    """

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
        self.earned = 0
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
            ConnectionFault: the budget is spent; for a peer that is slowed down, far overdrawn.

        """
        enough = self._cheap.overdraw(count) < _MOST_OVERDRAWN if self._slow_down else self._cheap.take(count)
        if not enough:
            raise self.fault("control_frames", "flood of control frames")

    def reset_by_peer(self, known: bool, answered: bool) -> None:
        """Charge a RST_STREAM from the peer.

        A peer that is slowed down instead of cut pays less: many users share its connection, who may cancel their calls
        and end their connections all at once.

        Args:
            known: whether the stream is open.
            answered: whether this side has sent headers on it.

        """
        if known and not answered:
            self.spend(_SHARED_UNANSWERED_COST if self._slow_down else _UNANSWERED_COST)
        elif not (known and self._slow_down):
            self.spend()

    @property
    def overdue_s(self) -> float:
        """Seconds for which nothing should be read from a peer that is slowed down; 0.0: read on."""
        return self._cheap.overdue_s if self._slow_down else 0.0

    def sent(self, pieces: int) -> None:
        """Allow the peer one WINDOW_UPDATE for each of `pieces` pieces of frames that were sent."""
        earned = self.earned + pieces
        self.earned = earned if earned < self._most_earned else self._most_earned

    def window_update(self) -> None:
        """Charge a WINDOW_UPDATE, unless frames sent to the peer explain it. Raises as `spend` does."""
        if self.earned:
            self.earned -= 1
        else:
            self.spend()

    def new_stream(self) -> bool:
        """Return whether the peer may open one more stream; charge the refusal if not. Raises as `spend` does."""
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
        """Count a reached limit, and return the error to raise."""
        self.reached[limit] += 1
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)

    def replies_written(self) -> None:
        """Record that the peer's socket has taken all answers given so far."""
        self.unsent_replies = 0

    def reply(self) -> None:
        """Count one answer to a control frame.

        Raises:
            ConnectionFault: too many answers wait for a peer that does not read, and is not slowed down instead.

        """
        self.unsent_replies += 1
        if not self._slow_down and self.unsent_replies > self._most_unsent_replies:
            raise self.fault("unsent_replies", "the peer asks for answers and does not read them")

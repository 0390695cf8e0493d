"""Exponential back-off: pauses between tries that fail, longer each time. Pure.

Owns the length of the next pause. Does not sleep, and knows neither a clock nor what is tried.
"""

from __future__ import annotations

import math
from random import Random


class Backoff:
    """Pauses in seconds that grow by a factor up to a cap.

    Args:
        first_s: first pause after the construction or a reset.
        last_s: longest pause.
        factor: ratio of a pause to the one before.
        spread: range of the random number that each pause is multiplied by.
        random: source of that number; None: pauses are exact.

    """

    __slots__ = ("_factor", "_first_s", "_last_s", "_next_s", "_random", "_spread")

    def __init__(
        self,
        first_s: float,
        last_s: float,
        factor: float = 2.0,
        spread: tuple[float, float] = (1.0, 1.1),
        random: Random | None = None,
    ) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._factor = factor
        self._spread = spread
        self._random = random
        self._next_s = first_s

    def next(self, most_s: float = math.inf) -> float:
        """Return the seconds to wait now, and lengthen the pause after it.

        Args:
            most_s: cap of this pause, if it is below that of all pauses. The pauses after it grow from there.

        """
        pause_s = min(self._next_s, self._last_s, most_s)
        self._next_s = pause_s * self._factor
        if self._random is None:
            return pause_s
        return pause_s * self._random.uniform(*self._spread)

    def reset(self) -> None:
        """Begin again with the first pause: a try succeeded."""
        self._next_s = self._first_s

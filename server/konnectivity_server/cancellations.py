"""How often each frontend took its dials back before they were answered. Pure; the clock is given.

A dial that is taken back costs its frontend a few bytes, and an agent a connection that it opens and drops. Whoever
does so in a loop is never over a bound on dials under way. So each has a debt, which time forgives.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.bounded_dict import BoundedDict

MAX_FRONTENDS = 10_000  # the ones that were heard of longest ago are forgotten
MAX_BYTES = 4 * 1024 * 1024  # of their names


class Cancellations:
    """Debts by frontend.

    Args:
        per_s: how many a second are forgiven, and how many there may be at once.
        clock: seconds.
    """

    def __init__(self, per_s: int, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._clock = clock
        self._debts: BoundedDict[str, tuple[float, float]] = BoundedDict(MAX_FRONTENDS, MAX_BYTES)  # debt, and when

    def add(self, frontend: str) -> None:
        """It took one back."""
        self._debts[frontend] = (self._debt(frontend) + 1, self._clock())

    def too_many(self, frontend: str) -> bool:
        """Whether it has to wait before it dials again."""
        return frontend in self._debts and self._debt(frontend) + 1 > self._per_s

    def _debt(self, frontend: str) -> float:
        debt, then = self._debts.get(frontend) or (0.0, 0.0)
        return max(0.0, debt - (self._clock() - then) * self._per_s)

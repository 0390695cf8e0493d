"""Counter of the answers to one kind of request. Plain fields that a metrics collector reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from konnectivity.kube.api_error import KubeError
from konnectivity.metrics.histograms import Histogram

OK = 200


class CallCounts:
    """Answers by HTTP status and reason, and their latency by HTTP status. Status 0: there was no answer.

    Args:
        bounds: upper bounds of the latency histograms, in seconds.

    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.answers: dict[tuple[int, str], int] = {}
        self.seconds: dict[int, Histogram] = {}
        self._bounds = bounds

    def count(self, status: int, reason: str, seconds: float) -> None:
        """Record one answer, or a request without one (status 0)."""
        self.answers[status, reason] = self.answers.get((status, reason), 0) + 1
        self.seconds.setdefault(status, Histogram(self._bounds)).observe(seconds)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the request that the block makes, and raise its error. A request that is cancelled does not count."""
        began = monotonic()
        try:
            yield
        except KubeError as error:
            self.count(error.code, error.reason, monotonic() - began)
            raise
        else:
            self.count(OK, "", monotonic() - began)

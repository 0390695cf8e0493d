"""Record of one path, an agent and a class of probes: its state, since when, and the last result. Pure.

Owns the rule that one failure is a suspicion and the second in a row is a fault. Does not know when a probe is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from konnectivity_server.probes.path_faults import PathFault

UNKNOWN, PASSING, SUSPECT, FAILING, SKIPPED = "unknown", "passing", "suspect", "failing", "skipped"
STATES = (FAILING, SUSPECT, UNKNOWN, SKIPPED, PASSING)  # the worst first
FAILURES = 2  # failures in a row that make a fault


class ShownCertificate(NamedTuple):
    """Certificate that a target showed. Times are in seconds since 1970."""

    subject: str
    issuer: str
    not_after: float
    not_before: float = 0.0
    digest: bytes = b""  # SHA-256, by which the same certificate is known again


@dataclass(slots=True)
class PathRecord:
    """State of one path."""

    target: str  # "host:port"; empty for a path that is skipped
    since: float  # time of the last change of state
    state: str = UNKNOWN
    fault: PathFault | None = None  # of the last probe, if it failed
    failures: int = 0  # failed probes in a row
    probes: int = 0
    probed_at: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # of each hop of the last probe
    certificate: ShownCertificate | None = None  # the last one that the target showed
    passed_before: bool = False  # the path passed when it was judged last

    @property
    def usable(self) -> bool:
        """Return whether the path passes, or passed until the one failure that is not confirmed yet."""
        return self.state == PASSING or (self.state == SUSPECT and self.passed_before)

    def passed(self, now: float, seconds: Mapping[str, float], certificate: ShownCertificate | None) -> bool:
        """Note a probe that passed; return whether the verdict on the path changed."""
        self._probed(now, seconds, certificate)
        self.failures, self.fault = 0, None
        changed = self.state != SUSPECT or not self.passed_before
        return self._becomes(PASSING, now) and changed

    def failed(
        self,
        now: float,
        fault: PathFault,
        seconds: Mapping[str, float],
        certificate: ShownCertificate | None = None,
        certain: bool = False,
    ) -> bool:
        """Note a probe that failed; return whether the verdict changed. `certain`: another failure need not confirm."""
        self._probed(now, seconds, certificate)
        self.failures = max(self.failures + 1, FAILURES if certain else 0)
        self.fault = fault
        return self._becomes(FAILING if self.failures >= FAILURES else SUSPECT, now) and self.state == FAILING

    def _probed(self, now: float, seconds: Mapping[str, float], certificate: ShownCertificate | None) -> None:
        self.probes += 1
        self.probed_at = now
        self.seconds = seconds
        self.certificate = certificate or self.certificate

    def _becomes(self, state: str, now: float) -> bool:
        if state != SUSPECT:
            self.passed_before = state == PASSING
        if state == self.state:
            return False
        self.state, self.since = state, now
        return True

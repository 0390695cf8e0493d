"""Settings and counters that the tunnels of one program share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.stream_hold import HOLD_S


@dataclass(slots=True)
class TunnelOptions:
    """Settings and counters that the tunnels of one program share. Times in seconds."""

    memory: MemoryBudget = field(default_factory=MemoryBudget)
    traffic: TunnelStats = field(default_factory=TunnelStats)
    hold_s: float | None = HOLD_S  # None: no limit (a stream with one connection on it)
    extension: bool = True
    log_connections: bool = True
    clock: Callable[[], float] = monotonic
    reached: Counter[str] = field(default_factory=Counter)  # number of times that each limit was reached, by its name

    def offer(self) -> dict[str, str]:
        """Return the header field by which a call offers the extension; nothing if it is switched off."""
        return Extension(self.memory.initial_window).header() if self.extension else {}

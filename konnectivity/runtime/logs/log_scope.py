"""Scope of log lines: the tenant whose connection or task writes them, with a rate of lines of its own.

Owns the scope of the context that runs. An event loop runs all callbacks of a connection in one context, and a task or
a timer inherits the context that started it, so that no line needs to be told its tenant.
"""

from __future__ import annotations

from contextvars import ContextVar

from konnectivity.runtime.logs.line_rate import LineRate

LINES_PER_MESSAGE = 50  # lines with one message about all peers of one tenant, per interval
MAX_KEYS = 200  # pairs of message and peer that are remembered of one tenant


class LogScope:
    """Scope of the lines of one tenant.

    Args:
        tenant: name of the tenant.

    """

    __slots__ = ("_rate", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self._rate: LineRate | None = None  # made for the first line: most tenants write none

    def take(self, message: str, peer: str) -> tuple[int, int] | None:
        """Count a line about a peer, as `LineRate.take` does."""
        if self._rate is None:
            self._rate = LineRate(per_message=LINES_PER_MESSAGE, max_keys=MAX_KEYS)
        return self._rate.take(message, peer)


scope: ContextVar[LogScope | None] = ContextVar("log_scope", default=None)

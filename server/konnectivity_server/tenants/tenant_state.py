"""State of one declared tenant: how it is served, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from konnectivity_server.tenants.served_tenant import ServedTenant

READY, NOT_READY, REFUSED, OUTDATED = "ready", "not ready", "refused", "outdated"


@dataclass(slots=True)
class TenantState:
    """State of one declared tenant.

    Attributes:
        served: the tenant as it is served; None: it never could be.
        trouble: why its files cannot be used; empty: they are in use.
        failing_since: when that was found, monotonic seconds.
        reported: whether that is in the log.
        changes: number of changes of all tenants when its files were last read.

    """

    served: ServedTenant | None = None
    trouble: str = ""
    failing_since: float = 0.0
    reported: bool = False
    changes: int = 0

    @property
    def word(self) -> str:
        """State of the tenant in one or two words."""
        if self.trouble:
            return REFUSED if self.served is None else OUTDATED
        ready = self.served is not None and self.served.tenant.view.not_ready() is None
        return READY if ready else NOT_READY

    def due(self, changes: int) -> bool:
        """Return whether a tenant in trouble is tried again: its trouble is new, or other tenants have changed."""
        return bool(self.trouble) and (not self.reported or self.changes != changes)

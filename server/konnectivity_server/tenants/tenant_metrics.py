"""Metrics of a server of many tenants: the families of each tenant with a label `tenant`, and those of the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from konnectivity.metrics import program_families
from konnectivity.metrics.exposition import Family, MetricsRegistry, MetricsText, counter, gauge, metrics_of
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.server_metrics import ServerCollector, families_of_process, limits_reached
from konnectivity_server.tenants.tenant_set import TenantSet

if TYPE_CHECKING:
    from prometheus_client import Metric

    from konnectivity.metrics.program_families import CertificateFiles
    from konnectivity_server.tenants.served_tenant import ServedTenant


class TenantMetrics:
    """Text that Prometheus scrapes, made one tenant at a time so that other work has its turn in between.

    Args:
        tenants: tenants of the server.
        limits: limits of the process.
        certificates: TLS files that all tenants share, by listener.

    """

    def __init__(self, tenants: TenantSet, limits: ServerLimits, certificates: Mapping[str, CertificateFiles]) -> None:
        self._tenants = tenants
        self._limits = limits
        self._certificates = certificates
        self._process = MetricsRegistry(self)

    def collect(self) -> Iterable[Metric]:
        """Return the families of the process."""
        tenants = self._tenants
        states = Counter(each.word for each in tenants.states.values())
        yield from metrics_of(families_of_process(self._limits, tenants.audit, tenants.tracing))
        yield from metrics_of(program_families.certificates("server", self._certificates))
        yield gauge("server_tenants", "Tenants of the directory, by state.").add_each("state", states).metric
        text = "Tenants, and changes of tenants, that could not be used."
        yield counter("server_tenants_refused_total", text).add(tenants.refused).metric

    async def text(self) -> bytes:
        """Return all families in the text format."""
        found = MetricsText()
        found.add(self._process.metrics())
        found.add([limits_reached(self._limits).metric])
        for served in list(self._tenants.served()):
            _add(found, served)
            await asyncio.sleep(0)
        return found.text()


def _turns(limits: ServerLimits) -> Family:
    text = "Reads of a tenant that waited, because its reads had used up their time in a pass of the event loop."
    return counter("server_tenant_read_turns_total", text).add(limits.turns.taken)


def metrics_of_tenant(served: ServedTenant) -> bytes:
    """Return the families of one tenant in the text format."""
    found = MetricsText()
    _add(found, served)
    return found.text()


def _add(found: MetricsText, served: ServedTenant) -> None:
    view = served.tenant.view
    families = [*ServerCollector(view).families_of_tenant(), limits_reached(view.limits), _turns(view.limits)]
    found.add(metrics_of(families), {"tenant": served.name})

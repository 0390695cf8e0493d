"""Metrics of `konnectivity forward`. Owns no counter: the collector reads those of other objects at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from konnectivity.metrics import program_families
from konnectivity.metrics.exposition import Family, counter, gauge, metrics_of

if TYPE_CHECKING:
    from prometheus_client import Metric

    from konnectivity.forward.client_session import SessionSettings
    from konnectivity.forward.upstream_servers import UpstreamServers
    from konnectivity.tls import ClientTls


class ForwardCollector:
    """Collector of one process's metrics.

    Args:
        clients: returns the number of open connections of clients.
        settings: has the counters of dials and limits.
        servers: has the counters of failed tries.
        tls: files of the connections to servers; None: there are only unix sockets.

    """

    def __init__(
        self,
        clients: Callable[[], int],
        settings: SessionSettings,
        servers: UpstreamServers,
        tls: ClientTls | None,
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._servers = servers
        self._tls = tls

    def collect(self) -> Iterable[Metric]:
        """Return all metric families with their values of now."""
        return metrics_of(self._families())

    def _families(self) -> Iterator[Family]:
        yield from client_families("forward", self._clients(), self._settings.dials)
        yield counter(
            "forward_server_failures_total", "Tries that a proxy server could not serve, by its frontend."
        ).add_each("server", self._servers.failures)
        yield program_families.limits_reached("forward", self._settings.reached)
        yield program_families.unexpected_errors("forward")
        yield program_families.build_info("forward")
        if self._tls is not None:
            yield from program_families.certificates("forward", {"servers": self._tls})


def client_families(prefix: str, clients: int, dials: Counter[tuple[str, str]]) -> Iterator[Family]:
    """Yield the metrics of a forward proxy's clients.

    Args:
        prefix: of the names of the metrics.
        clients: number of open connections.
        dials: number of dials by protocol and result.

    """
    yield gauge(
        f"{prefix}_open_connections", "Current number of open connections of clients of the forward proxy."
    ).add(clients)
    counts = counter(
        f"{prefix}_dials_total",
        "Dials for clients of the forward proxy, by protocol (socks5, connect, http) and result.",
    )
    for (protocol, result), count in sorted(dials.items()):
        counts.add(count, protocol=protocol, result=result)
    yield counts

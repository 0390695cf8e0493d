"""Health port of `konnectivity forward`: the handler of each path. Owns no state of the program."""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.forward.forward_metrics import ForwardCollector
from konnectivity.http1 import health
from konnectivity.http1.handlers import Response, shared
from konnectivity.http1.health import Check
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE, MetricsRegistry


async def serve(host: str, port: int, collector: ForwardCollector, not_ready: Callable[[], str | None]) -> HttpServer:
    """Open the health port; the caller closes it.

    Args:
        host: address that the port listens on; empty: all addresses.
        port: port number.
        collector: of the program's metrics.
        not_ready: returns why no connection can be made, or None.

    """
    server = HttpServer(late=True)
    source = MetricsRegistry(collector)
    ready = health.ready([Check("server", not_ready)], 503)
    metrics = shared(lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, source.text()))
    await server.listen("health", host, port, {"/healthz": health.alive, "/readyz": ready, "/metrics": metrics})
    return server

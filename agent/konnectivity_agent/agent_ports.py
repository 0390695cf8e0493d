"""Health port and admin port of the agent: the handler of each path.

Owns no state of the agent: readiness is an injected function, metrics an injected collector.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from konnectivity.http1 import health
from konnectivity.http1.handlers import PLAIN, Request, Response, Routes, shared, text
from konnectivity.http1.health import Check
from konnectivity.http1.host_check import guarded
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE, MetricsRegistry
from konnectivity.net.addresses import is_loopback
from konnectivity.runtime import profiling
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal
from konnectivity_agent.agent_metrics import AgentCollector
from konnectivity_agent.agent_options import AgentOptions

_HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


async def serve(
    options: AgentOptions, collector: AgentCollector, not_ready: Callable[[], str | None], reached: Counter[str]
) -> HttpServer:
    """Open both ports; the caller closes them.

    Args:
        options: of the agent.
        collector: of the agent's metrics.
        not_ready: returns why no traffic can pass, or None if traffic can pass.
        reached: counts the limits that connections to the ports reached, by name of the limit.

    """
    server = HttpServer(options.max_health_connections, reached)
    source = MetricsRegistry(collector)
    ready = health.ready([Check("ping", lambda: None), Check("server-connected", not_ready)], 503)
    await server.listen(
        "health",
        options.health_server_host,
        options.health_server_port,
        {
            "/healthz": health.alive,
            "/readyz": ready,
            "/ready": ready,
            "/metrics": shared(lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, source.text())),
        },
    )
    pages: Routes = {"/metrics": _redirect_to(options.health_server_port), **_profiles(options, server)}
    await server.listen("admin", options.admin_bind_address, options.admin_server_port, pages)
    return server


def _redirect_to(health_port: int) -> Callable[[Request], Response]:
    """Return the handler that sends scrapers of the admin port to the metrics of the health port."""

    def metrics(request: Request) -> Response:
        host, _, port = request.host.rpartition(":")
        host = host if parse_decimal(port, MAX_PORT) is not None else request.host
        if not _HOST.fullmatch(host):
            return text("the Host header names no host\n", 400)
        query = f"?{request.query}" if request.query else ""
        location = f"//{host}:{health_port}/metrics{query}"
        return Response(301, {"Location": location, "Content-Type": PLAIN}, b"")

    return metrics


def _profiles(options: AgentOptions, server: HttpServer) -> Routes:
    """Return the handlers of profiles, if enabled; `server` stops what measures for them."""
    lag = None
    if options.enable_contention_profiling:
        lag = profiling.LoopLag()
        lag.start()
        server.on_close(lag.stop)
    pages = profiling.routes(lag) if options.enable_profiling else {}
    local = is_loopback(options.admin_bind_address)
    return {path: guarded(handler, local) for path, handler in pages.items()}

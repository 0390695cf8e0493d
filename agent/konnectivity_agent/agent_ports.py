"""The agent's health and admin ports: which path answers what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from konnectivity.http1 import health
from konnectivity.http1.handlers import PLAIN, Request, Response, Routes, shared, text
from konnectivity.http1.health import Check
from konnectivity.http1.host_check import guarded
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE, exposition, registry
from konnectivity.net.addresses import is_loopback
from konnectivity.runtime import profiling
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal
from konnectivity_agent.agent_metrics import AgentCollector

if TYPE_CHECKING:
    from konnectivity_agent.agent_app import ProxyAgent

NO_SERVER = "no servers connected"
_HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


async def serve(agent: ProxyAgent) -> HttpServer:
    """Open both ports. The caller closes them."""
    options = agent.options
    server = HttpServer(options.max_health_connections, agent.reached)
    source = registry(AgentCollector(agent))
    ready = health.ready([Check("ping", lambda: None), Check("server-connected", agent.not_ready)], 503)
    await server.listen(
        "health",
        options.health_server_host,
        options.health_server_port,
        {
            "/healthz": health.alive,
            "/readyz": ready,
            "/ready": ready,
            "/metrics": shared(lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, exposition(source))),
        },
    )
    lag = None
    if options.enable_contention_profiling:
        lag = profiling.LoopLag()
        lag.start()
        server.on_close(lag.stop)
    pages: Routes = profiling.routes(lag) if options.enable_profiling else {}

    def metrics(request: Request) -> Response:
        """Scrapers that ask the admin port are sent to the health port."""
        host, _, port = request.host.rpartition(":")
        host = host if parse_decimal(port, MAX_PORT) is not None else request.host
        if not _HOST.fullmatch(host):
            return text("the Host header names no host\n", 400)
        query = f"?{request.query}" if request.query else ""
        location = f"//{host}:{options.health_server_port}/metrics{query}"
        return Response(301, {"Location": location, "Content-Type": PLAIN}, b"")

    local = is_loopback(options.admin_bind_address)
    own = {path: guarded(handler, local) for path, handler in pages.items()}
    await server.listen("admin", options.admin_bind_address, options.admin_server_port, {"/metrics": metrics, **own})
    return server

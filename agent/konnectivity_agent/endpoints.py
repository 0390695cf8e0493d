"""The agent's health and admin ports: which path answers what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from konnectivity import health, profiling
from konnectivity.destination import is_loopback
from konnectivity.health import Check
from konnectivity.http import PLAIN, Request, Response, Routes, shared, text
from konnectivity.http_server import HttpServer
from konnectivity.metrics import CONTENT_TYPE, exposition, registry
from konnectivity.numbers import MAX_PORT, parse_decimal
from konnectivity.rebinding import guarded
from konnectivity_agent.metrics import AgentCollector

if TYPE_CHECKING:
    from konnectivity_agent.app import Agent

NO_SERVER = "no servers connected"
_HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


async def serve(agent: Agent) -> HttpServer:
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

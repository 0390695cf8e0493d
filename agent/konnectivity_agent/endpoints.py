"""The agent's health and admin ports: which path answers what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity import health, profiling
from konnectivity.destination import is_loopback
from konnectivity.health import Check
from konnectivity.http import PLAIN, HttpServer, Request, Response, Routes
from konnectivity.metrics import CONTENT_TYPE, exposition, registry
from konnectivity.rebinding import guarded
from konnectivity_agent.metrics import AgentCollector

if TYPE_CHECKING:
    from konnectivity_agent.app import Agent

NO_SERVER = "no servers connected"


async def serve(agent: Agent) -> HttpServer:
    """Open both ports. The caller closes them."""
    options = agent.options
    server = HttpServer()
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
            "/metrics": lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, exposition(source)),
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
        host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
        query = f"?{request.query}" if request.query else ""
        location = f"//{host}:{options.health_server_port}/metrics{query}"
        return Response(301, {"Location": location, "Content-Type": PLAIN}, b"")

    if is_loopback(options.admin_bind_address):
        pages = {path: guarded(handler) for path, handler in pages.items()}
    await server.listen("admin", options.admin_bind_address, options.admin_server_port, {"/metrics": metrics, **pages})
    return server

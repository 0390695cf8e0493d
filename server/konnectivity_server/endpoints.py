"""The server's health and admin ports: which path answers what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity import health, profiling
from konnectivity.health import Check
from konnectivity.http import Response, shared
from konnectivity.http_server import HttpServer
from konnectivity.metrics import CONTENT_TYPE, exposition, registry
from konnectivity_server import admin, api
from konnectivity_server.metrics import ServerCollector

if TYPE_CHECKING:
    from konnectivity_server.app import Server


async def serve(server: Server) -> HttpServer:
    """Open both ports; a worker's are its supervisor's, who asks at a unix socket. The caller closes them."""
    options = server.options
    http = HttpServer(options.max_health_connections, server.limits.reached)
    source = registry(ServerCollector(server))

    metrics = shared(lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, exposition(source)))
    checked = health.ready([Check("agents", server.not_ready)], 500, terse=True)
    ready = shared(checked, key=lambda request: request.asks("verbose"))
    paths = {"/healthz": health.alive, "/readyz": ready, "/ready": ready, "/metrics": metrics}
    if server.place is None:
        await http.listen("health", options.health_bind_address, options.health_port, paths)
    lag = None
    if options.enable_contention_profiling:
        lag = profiling.LoopLag()
        lag.start()
        http.on_close(lag.stop)
    pages = profiling.routes(lag) if options.enable_profiling else {}
    own = {"/metrics": metrics, **api.routes(server), **pages}
    if server.place is None:
        await http.listen("admin", options.admin_bind_address, options.admin_port, admin.AdminRoutes(options, own))
    else:
        await http.listen_unix("the supervisor", server.place.endpoints, {**paths, **own})
    return http

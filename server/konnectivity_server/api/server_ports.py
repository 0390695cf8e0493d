"""Health and admin ports of the server: the handler of each path."""

from __future__ import annotations

from konnectivity.http1 import health
from konnectivity.http1.handlers import Response, Routes, shared
from konnectivity.http1.health import Check
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE, MetricsRegistry
from konnectivity.runtime import profiling
from konnectivity_server.api import admin_port, api_routes
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.server_metrics import ServerCollector
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker


async def serve(view: ServerView, answers: SharedAnswers, options: ServerOptions, worker: Worker | None) -> HttpServer:
    """Open both ports, or the two unix sockets at which the supervisor asks a worker. The caller closes the result.

    Raises:
        StartError: the file of the admin port's tokens cannot be used.

    """
    http = HttpServer(options.max_health_connections, view.limits.reached)
    source = MetricsRegistry(ServerCollector(view))

    metrics = shared(lambda request: Response(200, {"Content-Type": CONTENT_TYPE}, source.text()))
    checked = health.ready([Check("agents", view.not_ready)], 500, terse=True)
    ready = shared(checked, key=lambda request: request.asks("verbose"))
    paths = {"/healthz": health.alive, "/readyz": ready, "/ready": ready, "/metrics": metrics}
    if worker is None:
        await http.listen("health", options.health_bind_address, options.health_port, paths)
    lag = None
    if options.enable_contention_profiling:
        lag = profiling.LoopLag()
        lag.start()
        http.on_close(lag.stop)
    pages = profiling.routes(lag) if options.enable_profiling else {}
    every = {"/metrics": metrics, **api_routes.routes(view, answers), **pages}
    own: Routes = every
    if options.admin_token_file:
        from konnectivity_server.api import admin_access  # late: most servers ask for no token

        own = admin_access.checked(options, every, view.limits.reached)
    if worker is None:
        await http.listen("admin", options.admin_bind_address, options.admin_port, admin_port.AdminRoutes(options, own))
    else:
        await http.listen_unix("the supervisor", worker.health, paths)
        await http.listen_unix("the supervisor", worker.admin, own)
    return http

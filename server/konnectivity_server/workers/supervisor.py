"""Supervisor of `--workers=N`: N processes that are one server.

Owns the health and admin ports, whose answers are merged from the workers' own, and the order of the end. Each worker
has the agents' port and the TCP frontend for itself, shared by SO_REUSEPORT. To agents the workers look like as many
servers (docs/operate/sizing.md).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from konnectivity.http1.http_server import HttpServer
from konnectivity.net.socket_listeners import open_unix
from konnectivity.runtime import lifecycle, logs
from konnectivity_server.api import admin_port
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers import supervisor_routes
from konnectivity_server.workers.supervisor_routes import SupervisorRoutes
from konnectivity_server.workers.worker_launcher import WorkerLauncher
from konnectivity_server.workers.worker_processes import WorkerProcesses

log = logs.get(__name__)

STOP_EXTRA_S = 10.0  # seconds for the workers' end, beyond the deadline of each worker


async def run(options: ServerOptions, server_id: str) -> int:
    """Serve until the first signal and the end of all workers, and return the exit code."""
    signals = lifecycle.Signals()
    frontend = None
    if options.uds_name:
        frontend = await open_unix("frontends", options.uds_name, options.delete_existing_uds_file)
    launcher = WorkerLauncher(options.workers, server_id, frontend)
    workers = WorkerProcesses(options.workers, launcher.start)
    reached: Counter[str] = Counter()
    http = HttpServer(options.max_health_connections, reached)
    try:
        async with asyncio.TaskGroup() as tasks:
            await _open_ports(options, server_id, workers, launcher, http, tasks, reached)
            running = tasks.create_task(workers.run(), name="workers")
            leaving = tasks.create_task(
                _stop(workers, launcher, signals, options.graceful_shutdown_timeout), name="signals"
            )
            log.info("Supervising workers", workers=options.workers, id=server_id)
            code = await running
            leaving.cancel()
            http.close()
    finally:
        workers.kill()
        launcher.close()
    log.info("All workers stopped")
    return code


async def _open_ports(
    options: ServerOptions,
    server_id: str,
    workers: WorkerProcesses,
    launcher: WorkerLauncher,
    http: HttpServer,
    tasks: asyncio.TaskGroup,
    reached: Counter[str],
) -> None:
    health_routes, admin_routes = (
        SupervisorRoutes(
            workers,
            lambda index, target, headers, admin=admin: supervisor_routes.ask(  # type: ignore[misc]
                launcher.socket_of(index, admin), target, headers
            ),
            server_id,
            SharedAnswers(tasks),
            reached,
            admin,
        )
        for admin in (False, True)
    )
    await http.listen("health", options.health_bind_address, options.health_port, health_routes)
    pages = admin_port.AdminRoutes(options, admin_routes)
    await http.listen("admin", options.admin_bind_address, options.admin_port, pages)


async def _stop(workers: WorkerProcesses, launcher: WorkerLauncher, signals: lifecycle.Signals, grace_s: float) -> None:
    """Stop the workers at the first signal, end them at the second one, and kill those that run on."""
    await signals.first.wait()
    log.info("Signal received, workers drain", seconds=grace_s)
    launcher.drain()
    workers.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s + STOP_EXTRA_S):
            await signals.second.wait()
            workers.stop()
            await asyncio.sleep(STOP_EXTRA_S)
    workers.kill()

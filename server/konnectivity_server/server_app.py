"""The proxy server's process: from options to tenants, to the listeners that serve them, and to an orderly end.

Owns the listeners, the audit log, the tracing, the ports of the operator and the background tasks of the process. Does
not know what any part does, nor what a tenant consists of.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.server_listeners import ServerListeners
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.tenancy import tenancy_of
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.tracing.dial_tracing import DialTracing

log = logs.get(__name__)

_IDLE_CHECK_S = 0.1
_QUIET_S = 1.0  # without a connection before a draining server ends: a client that just saw it ready may still dial


class ProxyServer:
    """Proxy server, from `start` to `stop`.

    Args:
        options: options of the server.
        server_id: id that agents and other servers are told.
        tasks: group in which the server's tasks run.
        worker: the worker that this process is; None: the server has one process.

    Raises:
        KubeError: there is no access to the Kubernetes API, or its extra is not installed.
        TlsError: certificates, keys or CAs cannot be used.

    """

    def __init__(
        self, options: ServerOptions, server_id: str, tasks: asyncio.TaskGroup, worker: Worker | None = None
    ) -> None:
        self._options = options
        self._server_id = server_id
        self._tasks = tasks
        self._worker = worker
        self._background: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        memory = options.memory_budget()
        limits = ServerLimits(options, memory)
        self._listeners = ServerListeners(options, limits, tasks, worker)
        self.tenancy = tenancy_of(options, server_id, tasks, memory, limits, self._listeners, worker)

    async def start(self) -> None:
        """Open all listeners.

        Raises:
            ListenError: a listener cannot be opened.
            StartError: the audit log or a unix socket cannot be opened, or tracing lacks its extra.

        """
        try:
            audit, tracing = self._open_audit_log(), self._open_tracing()
            self._stack.push_async_callback(self.tenancy.stop)
            await self.tenancy.start(audit, tracing)
            for work, kind in self.tenancy.loops():
                self._background.append(task_guard.start_loop(self._tasks, work, kind))
            http = await self.tenancy.serve_ports()
            self._stack.callback(http.close)
        except BaseException:
            await self.stop()
            raise

    def _open_audit_log(self) -> AuditLog | None:
        if not self._options.audit_log:
            return None
        from konnectivity_server.audit.audit_log import AuditLog

        audit = AuditLog(self._options.audit_log, self._server_id)
        self._stack.callback(audit.close)  # after the connections, so that it records the end of each
        return audit

    def _open_tracing(self) -> DialTracing | None:
        options = self._options
        if not options.tracing_endpoint:
            return None
        from konnectivity_server.tracing import open_tracing

        tracing = open_tracing(options.tracing_endpoint, options.tracing_sample_ratio, self._server_id)
        self._stack.callback(tracing.close)
        return tracing

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials, through agents and through other servers."""
        return self.tenancy.unfinished

    @property
    def idle(self) -> bool:
        """Return whether no connection or dial is unfinished, and every byte of the finished ones is written."""
        return self.tenancy.idle and not self._listeners.unsent

    def drain(self) -> None:
        """Report not ready, accept no new agents and tell agents and servers to dial elsewhere; dials are served on."""
        self.tenancy.leave()
        self._listeners.drain()
        self.tenancy.drain()

    async def stop(self) -> None:
        """Close every connection and the listeners, then everything else."""
        reason = "the server is shutting down"
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.tenancy.close(reason)
        await self._listeners.close(reason)
        await self._stack.aclose()


async def run(options: ServerOptions, server_id: str, worker: Worker | None = None) -> int:
    """Serve until the first signal, close everything, and return the exit code."""
    signals = lifecycle.Signals()
    if worker is not None:  # the end of the supervisor counts as a signal
        asyncio.get_running_loop().add_reader(worker.parent_fd, signals.end)
    async with asyncio.TaskGroup() as tasks:
        server = ProxyServer(options, server_id, tasks, worker)
        await server.start()
        log.info("Proxy server started", id=server_id)
        await signals.first.wait()
        await _drain(server, signals, options.graceful_shutdown_timeout)
        await server.stop()
    log.info("Proxy server stopped")
    return 0


async def _drain(server: ProxyServer, signals: lifecycle.Signals, timeout_s: float) -> None:
    """Drain the server until it was idle for a moment, the timeout ends, or a second signal arrives."""
    log.info("Signal received, draining", seconds=timeout_s)
    server.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            idle_s = 0.0
            while idle_s < _QUIET_S and not signals.second.is_set():
                await asyncio.sleep(_IDLE_CHECK_S)
                idle_s = idle_s + _IDLE_CHECK_S if server.idle else 0.0
    if server.unfinished:
        log.warning("Cutting connections", connections=server.unfinished)

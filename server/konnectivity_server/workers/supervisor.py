"""`--workers=N`: N processes that are one server. Starts them, starts those again that died, and speaks for all.

Owns the workers, the frontends' unix socket (which they inherit), and the health and admin ports, whose answers are put
together from the workers' own (`merging`). The agents' port and the TCP frontend are each worker's, shared by
SO_REUSEPORT. To agents the workers look like so many servers (docs/operate/sizing.md).
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from konnectivity.http1 import health, small_requests
from konnectivity.http1.handlers import Handler, Later, Request, Response, text
from konnectivity.http1.http_exchange import FetchError
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics import tunnel_families
from konnectivity.metrics.exposition import CONTENT_TYPE, counter, text_of
from konnectivity.net.backoff import Backoff
from konnectivity.net.error_texts import words_of
from konnectivity.net.socket_listeners import open_unix
from konnectivity.net.unix_socket import UnixSocket
from konnectivity.runtime import lifecycle, logs
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity_server.api import admin_port
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers import merged_answers
from konnectivity_server.workers.worker import VARIABLE, Worker, endpoints_of

log = logs.get(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 10.0  # before a worker that died is started again
SOUND_S = 60.0  # after so long its end is a new trouble, not the old one
ASK_TIMEOUT_S = 5.0
HEALTH_PATHS = ("/healthz", "/readyz", "/ready", "/metrics")
_OF_ONE_HOP = ("date", "content-length", "connection")  # headers that are not handed on
STOP_EXTRA_S = 10.0  # over the workers' own deadline


class Workers:
    """The processes. `run` until they have ended after `stop`.

    Args:
        options: of the server; each worker reads them itself.
        server_id: of the server as a whole.
        frontend: unix socket of the frontends, which the workers inherit; None: there is none.

    """

    def __init__(self, options: ServerOptions, server_id: str, frontend: UnixSocket | None) -> None:
        self.count = options.workers
        self.directory = tempfile.mkdtemp(prefix="konnectivity-workers-")  # mode 0700
        self.processes: dict[int, asyncio.subprocess.Process] = {}
        self.restarts = 0
        self.reached: Counter[str] = Counter()  # limits of the health and admin ports
        self.server_id = server_id
        self._stopping = False
        self._parent = os.pipe()
        self._frontend = frontend

    async def run(self) -> int:
        """Keep them running. Exit code: the first that is not 0, of a start that failed or of the end."""
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep(index), name=f"worker {index}") for index in range(self.count)]
        return max(keeper.result() for keeper in keepers)

    def stop(self) -> None:
        """Let them drain; the second time, at once."""
        self._stopping = True
        if self._frontend is not None:
            self._frontend.mark_leaving()
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()

    def close(self) -> None:
        self.kill()
        for fd in self._parent:
            os.close(fd)
        if self._frontend is not None:
            self._frontend.remove()
            self._frontend.socket.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _keep(self, index: int) -> int:
        backoff, started_once = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S), False
        while True:
            began = monotonic()
            code = await self._run(index)
            ran_s = monotonic() - began
            if self._stopping or (code == 1 and not started_once and ran_s < SOUND_S):
                if not self._stopping:
                    self.stop()  # what cannot start at all ends the whole, as it would alone
                return max(code, 0)
            started_once = True
            if ran_s > SOUND_S:
                backoff.reset()
            self.restarts += 1
            log.error("A worker ended, starting it again", worker=index, code=code, ran_s=round(ran_s, 1))
            await asyncio.sleep(backoff.next())

    async def _run(self, index: int) -> int:
        """Run one worker from its start to its end and return its exit code: 1 if it cannot be started."""
        try:
            process = await self._start(index)
        except OSError as error:  # no descriptor, process or memory left
            log.error("Cannot start a worker", worker=index, reason=words_of(error))
            return 1
        try:
            return await process.wait()
        finally:
            self.processes.pop(index, None)

    async def _start(self, index: int) -> asyncio.subprocess.Process:
        frontend = -1 if self._frontend is None else self._frontend.socket.fileno()
        place = Worker(index, self.count, self.directory, frontend, self._parent[0])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *sys.orig_argv[1:],
            env={**os.environ, VARIABLE: place.text(), "KONNECTIVITY_SERVER_ID": self.server_id},
            pass_fds=[fd for fd in (frontend, self._parent[0]) if fd >= 0],
            start_new_session=True,  # a terminal's ^C reaches them once, by us
        )
        self.processes[index] = process
        return process


class SupervisorRoutes(Mapping[str, Handler]):
    """Routes of the health or the admin port: what the workers answer, put together.

    Args:
        admin: whether all paths are served that a worker knows, and not only those of a health port.

    """

    def __init__(self, workers: Workers, tasks: asyncio.TaskGroup, admin: bool) -> None:
        self._workers = workers
        self._answers = SharedAnswers(tasks)
        self._admin = admin

    def __getitem__(self, path: str) -> Handler:
        health_path = path in HEALTH_PATHS
        if path != "/metrics" and self._admin == health_path:
            raise KeyError(path)
        return health.alive if path == "/healthz" else functools.partial(self._later, path)

    def __iter__(self) -> Iterator[str]:
        return iter(HEALTH_PATHS)

    def __len__(self) -> int:
        return len(HEALTH_PATHS)

    def _later(self, path: str, request: Request) -> Later:
        if self._admin and path != "/metrics":
            key: tuple[str, ...] = (path, request.query)
        else:  # what else the query says makes no difference
            key = (path, request.value("worker"), str(request.asks("verbose")))
        return self._answers.get(key, request.arrived, lambda: self._answer(path, request))

    async def _answer(self, path: str, request: Request) -> Response:
        target = request.path + (f"?{request.query}" if request.query else "")
        asked = request.value("worker")
        number = parse_decimal(asked, self._workers.count - 1)
        if asked and number is None:
            return text(f"worker: a number from 0 to {self._workers.count - 1}\n", 400)
        numbers = sorted(self._workers.processes) if number is None else [number]
        found = await asyncio.gather(*(ask(endpoints_of(self._workers.directory, each), target) for each in numbers))
        answers = [answer for answer in found if answer is not None]
        if path in ("/readyz", "/ready"):
            return self._ready([(each.status, each.body.decode()) for each in answers], request)
        if not answers:
            return text("no worker answers\n", 503)
        if path == "/metrics" and not asked:
            texts = [each.body.decode() for each in answers if each.status == 200]
            restarts = counter("server_worker_restarts_total", "Workers that ended and were started again.")
            own = [
                restarts.add(self._workers.restarts),
                tunnel_families.unexpected_errors("server"),
                tunnel_families.limits_reached("server", self._workers.reached),
            ]
            body = merged_answers.metrics([*texts, text_of(own).decode()])
            return Response(200, {"Content-Type": CONTENT_TYPE}, body.encode())
        if len(answers) == 1 or any(each.status != 200 for each in answers):
            return answers[0]
        if path.startswith("/api/") and path != "/api/v1/route":
            values = [json.loads(each.body) for each in answers]
            return Response(200, answers[0].headers, self._joined(path, values).encode() + b"\n")
        return answers[0]

    def _joined(self, path: str, values: list[Any]) -> str:
        if path == "/api/v1/overview":
            return json.dumps(merged_answers.overview(values, self._workers.server_id))
        name = path.rpartition("/")[2]
        if isinstance(values[0], dict) and "sort" in values[0]:
            return json.dumps(merged_answers.listed(values, name))
        return json.dumps(merged_answers.documents(values), indent=2)

    def _ready(self, answers: list[tuple[int, str]], request: Request) -> Response:
        status, body = merged_answers.readiness(answers, request.asks("verbose"))
        return text(body, status)


async def ask(path: str, target: str) -> Response | None:
    """GET from a worker's unix socket. None: it does not answer (in time)."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                found = await small_requests.get(reader, writer, "worker", target)
            finally:
                writer.close()
        headers = {name.title(): value for name, value in found.headers.items() if name not in _OF_ONE_HOP}
        return Response(found.status, headers, found.body)
    except (OSError, TimeoutError, FetchError):
        return None


async def run(options: ServerOptions, server_id: str) -> int:
    """Serve until the first signal and the workers' end; exit code."""
    signals = lifecycle.Signals()
    frontend = None
    if options.uds_name:
        frontend = await open_unix("frontends", options.uds_name, options.delete_existing_uds_file)
    workers = Workers(options, server_id, frontend)
    http = HttpServer(options.max_health_connections, workers.reached)
    try:
        async with asyncio.TaskGroup() as tasks:
            health_routes, own = (SupervisorRoutes(workers, tasks, admin=each) for each in (False, True))
            await http.listen("health", options.health_bind_address, options.health_port, health_routes)
            admin_routes = admin_port.AdminRoutes(options, own)
            await http.listen("admin", options.admin_bind_address, options.admin_port, admin_routes)
            running = tasks.create_task(workers.run(), name="workers")
            leaving = tasks.create_task(_stopped(workers, signals, options.graceful_shutdown_timeout), name="signals")
            log.info("Supervising workers", workers=options.workers, id=server_id)
            code = await running
            leaving.cancel()
            http.close()
    finally:
        workers.close()
    log.info("All workers stopped")
    return code


async def _stopped(workers: Workers, signals: lifecycle.Signals, grace_s: float) -> None:
    await signals.first.wait()
    log.info("Signal received, workers drain", seconds=grace_s)
    workers.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s + STOP_EXTRA_S):
            await signals.second.wait()
            workers.stop()
            await asyncio.sleep(STOP_EXTRA_S)
    workers.kill()

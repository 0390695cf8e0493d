"""Routes of a supervisor's health and admin ports: each answer is merged from the answers of the workers.

The token of a request is passed on to the workers, which judge it. Does not know how a worker is asked, nor how answers
are merged (`merged_answers`).
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from konnectivity.http1 import health, small_requests
from konnectivity.http1.handlers import Handler, Later, Request, Response, text
from konnectivity.http1.http_exchange import FetchError, Header
from konnectivity.metrics import program_families
from konnectivity.metrics.exposition import CONTENT_TYPE, counter, text_of
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity_server.api import admin_access
from konnectivity_server.api.list_queries import BadQuery
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.workers import merged_answers, merged_tenants

ASK_TIMEOUT_S = 5.0
HEALTH_PATHS = ("/healthz", "/readyz", "/ready", "/metrics")
_OF_ONE_HOP = ("date", "content-length", "connection")  # headers that are not handed on

_REFUSED = (401, 403)  # status of an answer to a request whose token is wrong, or does not cover the path

Ask = Callable[[int, str, Sequence[Header]], Awaitable["Response | None"]]
"""Returns a worker's answer to a request target with headers, or None if the worker does not answer in time."""


class RunningWorkers(Protocol):
    """Workers, as far as the routes need them."""

    count: int
    restarts: int

    @property
    def running(self) -> list[int]:
        """Numbers of the workers that run, in order."""


class SupervisorRoutes(Mapping[str, Handler]):
    """Routes of the health port or of the admin port.

    Args:
        workers: the workers.
        ask: asks a worker.
        server_id: id of the server as a whole.
        answers: shares answers under way among requests.
        reached: counts the limits of the supervisor's own ports.
        admin: whether all paths of a worker are served, and not only those of a health port.

    """

    def __init__(
        self,
        workers: RunningWorkers,
        ask: Ask,
        server_id: str,
        answers: SharedAnswers,
        reached: Counter[str],
        admin: bool,
    ) -> None:
        self._workers = workers
        self._ask = ask
        self._server_id = server_id
        self._answers = answers
        self._reached = reached
        self._admin = admin

    def __getitem__(self, path: str) -> Handler:
        """Return the handler of a path."""
        health_path = path in HEALTH_PATHS
        if path != "/metrics" and self._admin == health_path:
            raise KeyError(path)
        return health.alive if path == "/healthz" else functools.partial(self._later, path)

    def __iter__(self) -> Iterator[str]:
        """Yield the paths that need no worker to be known."""
        return iter(HEALTH_PATHS)

    def __len__(self) -> int:
        """Return the number of these paths."""
        return len(HEALTH_PATHS)

    def _later(self, path: str, request: Request) -> Later:
        if self._admin:
            key = (path, request.query, *_passed_on(request))
        else:  # other parts of the query have no effect
            key = (path, request.value("worker"), str(request.asks("verbose")), request.value("tenant"))
        return self._answers.get(key, request.arrived, lambda: self._answer(path, request))

    async def _answer(self, path: str, request: Request) -> Response:
        asked = request.value("worker")
        number = parse_decimal(asked, self._workers.count - 1)
        answers = await self._answers_of(self._workers.running if number is None else [number], request)
        if refused := next((each for each in answers if each.status in _REFUSED), None):
            return refused
        if asked and number is None:  # after the token, as the text has the number of workers
            return text(f"worker: a number from 0 to {self._workers.count - 1}\n", 400)
        if path in ("/readyz", "/ready"):
            return _readiness(answers, request)
        if not answers:
            return text("no worker answers\n", 503)
        if path == "/metrics" and not asked:
            return self._metrics(answers, request)
        if path == merged_tenants.PATH and not asked:
            return _tenants(answers, request)
        if len(answers) == 1 or any(each.status != 200 for each in answers):
            return answers[0]
        if path.startswith("/api/") and path != "/api/v1/route":
            values = [json.loads(each.body) for each in answers]
            return Response(200, answers[0].headers, self._merged(path, values).encode() + b"\n")
        return answers[0]

    async def _answers_of(self, numbers: list[int], request: Request) -> list[Response]:
        """Return the answers of those workers that answer, in the order of their numbers."""
        target = request.path + (f"?{request.query}" if request.query else "")
        if request.path == merged_tenants.PATH and not request.value("worker"):
            target = merged_tenants.all_rows(request.query)
        headers = _passed_on(request) if self._admin else ()
        found = await asyncio.gather(*(self._ask(number, target, headers) for number in numbers))
        return [answer for answer in found if answer is not None]

    def _metrics(self, answers: list[Response], request: Request) -> Response:
        texts = [each.body.decode() for each in answers if each.status == 200]
        if self._admin and request.values("tenant"):  # nothing of the process
            body = merged_answers.metrics(texts)
            return Response(200, {"Content-Type": CONTENT_TYPE}, body.encode()) if texts else answers[0]
        restarts = counter("server_worker_restarts_total", "Workers that ended and were started again.")
        own = [
            restarts.add(self._workers.restarts),
            program_families.unexpected_errors("server"),
            program_families.limits_reached("server", self._reached),
        ]
        body = merged_answers.metrics([*texts, text_of(own).decode()])
        return Response(200, {"Content-Type": CONTENT_TYPE}, body.encode())

    def _merged(self, path: str, values: list[Any]) -> str:
        if path == "/api/v1/overview":
            return json.dumps(merged_answers.overview(values, self._server_id))
        if path == "/api/v1/conditions":
            return json.dumps(merged_answers.conditions(values), indent=2)
        name = path.rpartition("/")[2]
        if isinstance(values[0], dict) and "sort" in values[0]:
            return json.dumps(merged_answers.listed(values, name))
        return json.dumps(merged_answers.documents(values), indent=2)


def _passed_on(request: Request) -> tuple[Header, ...]:
    """Return the headers of a request to the admin port that its workers need to judge its token."""
    field = request.headers.get("authorization")
    return () if field is None else (("Authorization", field), (admin_access.SOURCE, request.source))


def _tenants(answers: list[Response], request: Request) -> Response:
    values = [json.loads(each.body) for each in answers if each.status == 200]
    if not values:
        return answers[0]
    try:
        found = merged_tenants.merged(values, request)
    except BadQuery as error:
        return Response(400, answers[0].headers, json.dumps({"error": str(error)}).encode() + b"\n")
    return Response(200, answers[0].headers, json.dumps(found).encode() + b"\n")


def _readiness(answers: list[Response], request: Request) -> Response:
    found = [(each.status, each.body.decode()) for each in answers]
    status, body = merged_answers.readiness(found, request.asks("verbose"))
    return text(body, status)


async def ask(path: str, target: str, headers: Sequence[Header]) -> Response | None:
    """Return a worker's answer to a GET at its unix socket, or None if it does not answer in time."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                found = await small_requests.get(reader, writer, "worker", target, headers)
            finally:
                writer.close()
        kept = {name.title(): value for name, value in found.headers.items() if name not in _OF_ONE_HOP}
        return Response(found.status, kept, found.body)
    except (OSError, TimeoutError, FetchError):
        return None

"""Health and admin ports of a server of many tenants: the routes of the API, each for one tenant, and the list of all.

/api/v1/tenants                      tenants: state, server names, agents, connections, trouble
/api/v1/agents?tenant=NAME           every other route of the API, for one tenant
/metrics?tenant=NAME                 metrics of one tenant; without a tenant, of all and of the process
/readyz?tenant=NAME                  whether dials of a tenant can pass; without a tenant, whether the server serves

The admin token of a tenant leads to routes of this tenant alone, which know no other one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from konnectivity.http1 import health
from konnectivity.http1.handlers import Handler, Later, Request, Response, Routes, text
from konnectivity.http1.health import Check
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE
from konnectivity.runtime import profiling
from konnectivity_server.api import admin_access, admin_port, api_routes
from konnectivity_server.api.list_queries import BadQuery, answer, choose, query_of, written
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.tenants.tenant_metrics import TenantMetrics, metrics_of_tenant
from konnectivity_server.tenants.tenant_set import TenantSet
from konnectivity_server.tenants.tenant_state import NOT_READY, OUTDATED, READY, REFUSED, TenantState

if TYPE_CHECKING:
    from konnectivity.metrics.program_families import CertificateFiles
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tenants.served_tenant import ServedTenant
    from konnectivity_server.workers.worker import Worker

_BY_TROUBLE = (REFUSED, OUTDATED, NOT_READY, READY)

_TENANTS = "/api/v1/tenants"

Named = tuple[str, TenantState]


@dataclass(frozen=True, slots=True)
class ProcessView:
    """Parts of the process that the ports of many tenants look at."""

    options: ServerOptions
    memory: MemoryBudget
    limits: ServerLimits
    not_ready: Callable[[], str | None]
    certificates: Mapping[str, CertificateFiles]  # by listener


class TenantPorts:
    """Handlers of the ports.

    Args:
        tenants: tenants of the server.
        process: parts of the process.
        answers: makes the answers that take a while.

    """

    def __init__(self, tenants: TenantSet, process: ProcessView, answers: SharedAnswers) -> None:
        self._tenants = tenants
        self._process = process
        self._answers = answers
        self._metrics = TenantMetrics(tenants, process.limits, process.certificates)

    @property
    def checks(self) -> dict[str, Handler]:
        """Return the handlers of health, readiness and metrics."""
        return {"/healthz": health.alive, "/readyz": self._ready, "/ready": self._ready, "/metrics": self._scrape_all}

    @property
    def api(self) -> dict[str, Handler]:
        """Return the handlers of the admin API."""
        found: dict[str, Handler] = {"/metrics": self._scrape, _TENANTS: self._list}
        found |= dict.fromkeys(api_routes.PATHS, self._of_tenant)
        return found

    def routes_of_token(self, digest: str) -> Routes | None:
        """Return the routes that the admin token of a tenant covers, by the token's digest in hex; None: no tenant."""
        served = self._tenants.holder_of(digest)
        if served is None:
            return None
        state = self._tenants.states[served.name]
        found: dict[str, Handler] = {"/metrics": partial(_metrics, served), _TENANTS: partial(own_row, served, state)}
        found |= dict.fromkeys(api_routes.PATHS, partial(self._answer_of, served))
        return {path: partial(_covered, served.name, handler) for path, handler in found.items()}

    def _ready(self, request: Request) -> Response:
        name = request.value("tenant")
        if not name:
            return health.ready([Check("server", self._process.not_ready)], 500, terse=True)(request)
        state = self._tenants.states.get(name)
        if state is None or state.served is None:
            return text(state.trouble if state is not None else f"no tenant {name!r}", 500)
        return health.ready([Check("agents", state.served.tenant.view.not_ready)], 500, terse=True)(request)

    def _scrape(self, request: Request) -> Response | Later:
        if not request.values("tenant"):
            return self._scrape_all(request)
        found = self._asked(request)
        return found if isinstance(found, Response) else _metrics(found, request)

    def _scrape_all(self, request: Request) -> Later:
        async def make() -> Response:
            return Response(200, {"Content-Type": CONTENT_TYPE}, await self._metrics.text())

        return self._answers.get("/metrics", request.arrived, make)

    def _of_tenant(self, request: Request) -> Response | Later:
        found = self._asked(request)
        return found if isinstance(found, Response) else self._answer_of(found, request)

    def _asked(self, request: Request) -> ServedTenant | Response:
        """Return the tenant that a request names, or the answer that it names none."""
        name = request.value("tenant")
        state = self._tenants.states.get(name)
        if state is None or state.served is None:
            why = f"tenant {name!r} is not served" if name else f"say which: {request.path}?tenant=NAME"
            return _json({"error": f"{why}; /api/v1/tenants lists the tenants"}, 404 if name else 400)
        return state.served

    def _answer_of(self, served: ServedTenant, request: Request) -> Response | Later:
        served.watch()
        return api_routes.routes(served.tenant.view, self._answers)[unquote(request.path)](request)

    def _list(self, request: Request) -> Later:
        async def make() -> Response:
            try:
                query = query_of(request, _KEYS, "state")
                if request.asks("all"):  # the supervisor merges the rows of all workers before it cuts the list
                    query = replace(query, limit=len(self._tenants.states), match="")
            except BadQuery as error:
                return _json({"error": str(error)}, 400)
            found = await choose(list(self._tenants.states.items()), _KEYS, query, _text)
            return await written(query.head(found), "tenants", found.items, tenant_row)

        return self._answers.get((request.path, request.query), request.arrived, make)


def _covered(name: str, handler: Handler, request: Request) -> Response | Later:
    """Answer a request with the token of a tenant, which must name this tenant; another one and no one are the same."""
    asked = request.values("tenant")
    if asked != [name] and (asked or request.path != _TENANTS):
        return admin_access.forbidden(f"the token covers one tenant: ask with ?tenant={name}")
    return handler(request)


def _metrics(served: ServedTenant, request: Request) -> Response:
    return Response(200, {"Content-Type": CONTENT_TYPE}, metrics_of_tenant(served))


def own_row(served: ServedTenant, state: TenantState, request: Request) -> Response:
    """Return the list of tenants for the token of one: its own row, whose trouble may name no other tenant."""
    row = tenant_row((served.name, state))
    if state.trouble:
        row["trouble"] = "files of the tenant cannot be used; the log of the server has the reason"
    return _json({"total": 1, "matching": 1, "sort": "state", "limit": 1, "tenant": served.name, "tenants": [row]})


def tenant_row(named: Named) -> dict[str, Any]:
    """Return one tenant as JSON fields."""
    name, state = named
    row: dict[str, Any] = {"name": name, "state": state.word, "trouble": _trouble(state)}
    if state.served is None:
        return row
    served, view = state.served, state.served.tenant.view
    tunnels = view.registry.all()
    return row | {
        "server_names": list(served.options.server_names),
        "frontend_names": list(served.options.names_of_frontends) if served.frontends is not None else [],
        "unix_socket": served.options.uds_name or None,
        "agents": len(tunnels),
        "frontends": view.connect.clients,
        "clients": served.connections,
        "connections": sum(len(each.connections) for each in tunnels),
        "pending_dials": sum(each.unanswered for each in tunnels),
        "dials": view.agent_traffic.opened,
        "dial_failures": sum(view.agent_traffic.dial_failures.values()),
        "buffered_bytes": view.memory.used,
        "limits_reached": sum(view.limits.reached.values()),
    }


def _trouble(state: TenantState) -> str | None:
    if state.trouble:
        return state.trouble
    return state.served.tenant.view.not_ready() if state.served is not None else None


def _text(named: Named) -> str:
    """Return the text in which a filter looks for its words."""
    name, state = named
    names = state.served.options.server_names if state.served is not None else ()
    return "\n".join((name, *names, state.word, state.trouble))


def _cell(key: str, named: Named) -> Any:
    return tenant_row(named).get(key, 0)


_KEYS: dict[str, Callable[[Named], Any]] = {
    "state": lambda named: _BY_TROUBLE.index(named[1].word),
    "name": lambda named: named[0],
    **{
        key: partial(_cell, key)
        for key in ("agents", "connections", "dial_failures", "buffered_bytes", "limits_reached")
    },
}


def _json(value: object, status: int = 200) -> Response:
    return answer(json.dumps(value, indent=2).encode() + b"\n", status)


def pages(options: ServerOptions, http: HttpServer) -> dict[str, Handler]:
    """Return the handlers of the profiles, if the options ask for them."""
    if not options.enable_profiling:
        return {}
    lag = profiling.LoopLag() if options.enable_contention_profiling else None
    if lag is not None:
        lag.start()
        http.on_close(lag.stop)
    return dict(profiling.routes(lag))


async def serve(tenants: TenantSet, process: ProcessView, answers: SharedAnswers, worker: Worker | None) -> HttpServer:
    """Open both ports, or the two unix sockets at which the supervisor asks a worker. The caller closes the result.

    Raises:
        StartError: the file of the admin port's tokens cannot be used.

    """
    options = process.options
    http = HttpServer(options.max_health_connections, process.limits.reached)
    ports = TenantPorts(tenants, process, answers)
    every = {**ports.api, **pages(options, http)}
    own = admin_access.checked(options, every, process.limits.reached, ports.routes_of_token)
    if worker is not None:
        await http.listen_unix("the supervisor", worker.health, ports.checks)
        await http.listen_unix("the supervisor", worker.admin, own)
        return http
    await http.listen("health", options.health_bind_address, options.health_port, ports.checks)
    await http.listen("admin", options.admin_bind_address, options.admin_port, admin_port.AdminRoutes(options, own))
    return http

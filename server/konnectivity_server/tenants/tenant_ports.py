"""Health and admin ports of a server of many tenants: the routes of the API, each for one tenant, and the list of all.

/api/v1/tenants                      tenants: state, server names, agents, connections, trouble
/api/v1/agents?tenant=NAME           every other route of the API, for one tenant
/readyz?tenant=NAME                  whether dials of a tenant can pass; without a tenant, whether the server serves
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from konnectivity.http1 import health
from konnectivity.http1.handlers import Handler, Later, Request, Response, text
from konnectivity.http1.health import Check
from konnectivity.http1.http_server import HttpServer
from konnectivity.metrics.exposition import CONTENT_TYPE
from konnectivity.runtime import profiling
from konnectivity_server.api import admin_port, api_routes
from konnectivity_server.api.list_queries import BadQuery, answer, choose, query_of, written
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.tenants.tenant_metrics import TenantMetrics
from konnectivity_server.tenants.tenant_set import TenantSet
from konnectivity_server.tenants.tenant_state import NOT_READY, OUTDATED, READY, REFUSED, TenantState

if TYPE_CHECKING:
    from konnectivity.metrics.program_families import CertificateFiles
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_options import ServerOptions

_BY_TROUBLE = (REFUSED, OUTDATED, NOT_READY, READY)

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
        return {"/healthz": health.alive, "/readyz": self._ready, "/ready": self._ready, "/metrics": self._scrape}

    @property
    def api(self) -> dict[str, Handler]:
        """Return the handlers of the admin API."""
        found: dict[str, Handler] = {"/metrics": self._scrape, "/api/v1/tenants": self._list}
        found |= dict.fromkeys(api_routes.PATHS, self._of_tenant)
        return found

    def _ready(self, request: Request) -> Response:
        name = request.value("tenant")
        if not name:
            return health.ready([Check("server", self._process.not_ready)], 500, terse=True)(request)
        state = self._tenants.states.get(name)
        if state is None or state.served is None:
            return text(state.trouble if state is not None else f"no tenant {name!r}", 500)
        return health.ready([Check("agents", state.served.tenant.view.not_ready)], 500, terse=True)(request)

    def _scrape(self, request: Request) -> Later:
        async def make() -> Response:
            return Response(200, {"Content-Type": CONTENT_TYPE}, await self._metrics.text())

        return self._answers.get("/metrics", request.arrived, make)

    def _of_tenant(self, request: Request) -> Response | Later:
        name = request.value("tenant")
        state = self._tenants.states.get(name)
        if state is None or state.served is None:
            why = f"tenant {name!r} is not served" if name else f"say which: {request.path}?tenant=NAME"
            return _json({"error": f"{why}; /api/v1/tenants lists the tenants"}, 404 if name else 400)
        state.served.watch()
        return api_routes.routes(state.served.tenant.view, self._answers)[request.path](request)

    def _list(self, request: Request) -> Later:
        async def make() -> Response:
            try:
                query = query_of(request, _KEYS, "state")
            except BadQuery as error:
                return _json({"error": str(error)}, 400)
            found = await choose(list(self._tenants.states.items()), _KEYS, query, _text)
            return await written(query.head(found), "tenants", found.items, tenant_row)

        return self._answers.get((request.path, request.query), request.arrived, make)


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


async def serve(tenants: TenantSet, process: ProcessView, answers: SharedAnswers) -> HttpServer:
    """Open both ports. The caller closes the result."""
    options = process.options
    http = HttpServer(options.max_health_connections, process.limits.reached)
    ports = TenantPorts(tenants, process, answers)
    await http.listen("health", options.health_bind_address, options.health_port, ports.checks)
    own = {**ports.api, **pages(options, http)}
    await http.listen("admin", options.admin_bind_address, options.admin_port, admin_port.AdminRoutes(options, own))
    return http

"""Tenants of one server: those that the directory declares, served while their files can be used.

Owns the served tenants, the server names that lead to them, and the reason why one is refused. A change of one tenant
touches no other. A tenant whose new files cannot be used is served on with those of before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.errors import StartError
from konnectivity.kube.api_error import KubeError
from konnectivity.net.error_texts import words_of
from konnectivity.net.socket_listeners import ListenError
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.file_notices import FileNotices
from konnectivity.tls import TlsError
from konnectivity_server.tenants.served_tenant import ServedTenant
from konnectivity_server.tenants.server_names import ServerNames
from konnectivity_server.tenants.tenant_claims import TenantClaims, admin_token, claims_of
from konnectivity_server.tenants.tenant_directory import DIRECTORY, DeclaredTenant, TenantDirectory, TenantError
from konnectivity_server.tenants.tenant_end import TenantEnd
from konnectivity_server.tenants.tenant_options import as_in_file, share_port
from konnectivity_server.tenants.tenant_parts import ProcessParts
from konnectivity_server.tenants.tenant_state import TenantState

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tracing.dial_tracing import DialTracing

log = logs.get(__name__)

LOOK_S = 0.8  # between two looks at the notices of changed files
LOOK_AT_ALL_S = 60.0  # between two looks at every file, for changes that the kernel did not report
PACE_S = 0.4  # time in which every file is looked at once
SLICE = 20  # unchanged tenants that are looked at before others have their turn
PATIENCE_S = 1.0  # files of one change are written one after the other: a fault is reported when it lasts
_IDLE_CHECK_S = 0.5


class TenantSet:
    """Tenants of one server, from `load` to `close`.

    Args:
        options: options of the server.
        process: parts of the process.
        notices: notices of changed files; None: those of this system.

    """

    def __init__(self, options: ServerOptions, process: ProcessParts, notices: FileNotices | None = None) -> None:
        self.states: dict[str, TenantState] = {}
        self.refused = 0  # tenants, and changes of tenants, that could not be used
        self._options = options
        self._process = process
        self._one_port = share_port(options)
        self._notices = notices or FileNotices()
        self._directory = TenantDirectory(options, self._notices)
        self._declared: dict[str, Path] = {}  # path of each tenant's file
        self._claims = TenantClaims()
        self._agents: ServerNames[TenantEnd] = ServerNames()
        self._frontends: ServerNames[TenantEnd] = ServerNames()
        self._retired: dict[ServedTenant, None] = {}  # replaced, with connections that may continue for a while
        self.audit: AuditLog | None = None
        self.tracing: DialTracing | None = None
        self._changes = 0  # claims that were taken or released
        self._unreadable = ""  # why the directory cannot be read

    def find_agents(self, name: str) -> TenantEnd | None:
        """Return the end for the agents that ask for a server name, or None; on one port, for frontends as well."""
        return self._agents.find(name)

    def find_peers(self, tenant: str) -> TenantEnd | None:
        """Return the end for the peer servers of a tenant, by its name, or None."""
        state = self.states.get(tenant)
        return state.served.peers if state is not None and state.served is not None else None

    def find_frontends(self, name: str) -> TenantEnd | None:
        """Return the end for the frontends that ask for a server name, or None."""
        return self._frontends.find(name)

    def served(self) -> Iterator[ServedTenant]:
        """Yield the tenants that are served, by name."""
        return (each.served for _, each in sorted(self.states.items()) if each.served is not None)

    def holder_of(self, digest: str) -> ServedTenant | None:
        """Return the served tenant that has the admin token with a digest in hex, or None."""
        for name in self._claims.holders(admin_token(digest)):
            served = self.states[name].served
            if served is not None and served.has_admin_token(digest):
                return served
        return None

    async def load(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Serve the tenants that the directory declares."""
        self.audit, self.tracing = audit, tracing
        await self._look(everything=True, loading=True)
        log.info("Tenants loaded", served=sum(1 for _ in self.served()), declared=len(self.states))

    async def run(self) -> None:
        """Use changes of the files until cancelled."""
        looked_at_all = -LOOK_AT_ALL_S
        while True:
            began = monotonic()
            everything = began - looked_at_all >= LOOK_AT_ALL_S
            looked_at_all = began if everything else looked_at_all
            await self._look(everything)
            await asyncio.sleep(max(0.05, LOOK_S - (monotonic() - began)))

    async def _look(self, everything: bool, loading: bool = False) -> None:
        """Look at the tenants whose files may have changed, or at all of them; report faults at once when `loading`."""
        noticed, unwatched = self._notices.take(), self._notices.unwatched
        was_unreadable = bool(self._unreadable)
        if (everything or was_unreadable or DIRECTORY in noticed | unwatched) and not await self._list():
            return
        everything = everything or was_unreadable  # the notices of that time are lost
        due = [name for name in self._declared if everything or name in noticed or name in unwatched or self._due(name)]
        pause_s = 0.0 if loading else PACE_S * SLICE / max(len(due), SLICE)
        for number, name in enumerate(due, 1):
            path, state = self._declared[name], self.states.setdefault(name, TenantState())
            if self._directory.changed(name, path, name in noticed, everything) or state.due(self._changes):
                await self._renew(name, path, state, 0.0 if loading else PATIENCE_S)
                await asyncio.sleep(0)
            if number % SLICE == 0:
                await asyncio.sleep(0.0 if name in noticed else pause_s)
        if due:
            self._directory.pairs.keep(
                {each.options.agent_files[:2] for each in self.served()} | self._frontend_pairs()
            )

    def _due(self, name: str) -> bool:
        """Return whether a tenant is new, or in trouble and tried again."""
        state = self.states.get(name)
        return state is None or state.due(self._changes)

    async def _list(self) -> bool:
        """Read which tenants are declared, remove those that are not, and return whether that was possible."""
        try:
            self._declared = self._directory.names()
        except OSError as error:
            if not self._unreadable:
                log.warning("Cannot read the directory of tenants, serving those known", reason=words_of(error))
            self._unreadable = words_of(error)
            return False
        self._unreadable = ""
        for name in self.states.keys() - self._declared.keys():
            await self._remove(name)
        return True

    def _frontend_pairs(self) -> set[tuple[str, str]]:
        return {each.options.frontend_files[:2] for each in self.served()}

    async def _renew(self, name: str, path: Path, state: TenantState, patience_s: float) -> None:
        """Serve a tenant as its files are now."""
        state.changes = self._changes
        try:
            declared = self._directory.read(name, path)
            claims = claims_of(declared)
            if conflict := self._claims.conflict(name, claims):
                raise TenantError(conflict)
            await self._use(declared, state)
            self._claims.take(name, claims)
            self._changes += 1
        except (TenantError, ListenError, StartError, KubeError, TlsError) as error:
            self._fail(name, state, as_in_file(str(error)), patience_s)
            return
        if state.trouble:
            log.info("Tenant can be used again", tenant=name)
        state.trouble, state.reported = "", False

    def _fail(self, name: str, state: TenantState, reason: str, patience_s: float) -> None:
        now = monotonic()
        if not state.trouble:
            state.failing_since = now
        if reason != state.trouble:
            state.trouble, state.reported = reason, False
        if not state.reported and now - state.failing_since >= patience_s:
            state.reported = True
            self.refused += 1
            if state.served is not None:
                state.served.tls_failed()
            kept = "its last good state is served on" if state.served is not None else "it is not served"
            log.warning("Tenant refused", tenant=name, reason=reason, effect=kept)

    async def _use(self, declared: DeclaredTenant, state: TenantState) -> None:
        """Serve a tenant as it is declared, in place of what is served under its name."""
        served = state.served
        if served is not None and not declared.differs_from(served.declared):
            if declared.options.admin_token_sha256 != served.declared.options.admin_token_sha256:
                log.info("Admin tokens of a tenant have changed", tenant=declared.name)
            if served.renew_tls(declared):
                log.info("TLS files of a tenant have changed; new connections use them", tenant=declared.name)
            return
        made = ServedTenant(declared, self._process, self._one_port)
        await self._start(made, served)
        if served is not None:
            self._retire(served)
        self._agents.add(self._names_of_agents(made), made.agents)
        if made.frontends is not None:
            self._frontends.add(made.options.names_of_frontends, made.frontends)
        state.served = made
        log.info("Tenant changed" if served is not None else "Tenant added", tenant=declared.name)

    async def _start(self, made: ServedTenant, before: ServedTenant | None) -> None:
        """Start a tenant, which takes over the unix socket of the one that was served before."""
        try:
            made.start(self.audit, self.tracing)
            if before is not None:
                before.close_socket()
            await made.open_socket()
        except BaseException:
            await made.close("the tenant cannot be served")
            if before is not None:
                await before.open_socket()
            raise

    def _names_of_agents(self, served: ServedTenant) -> tuple[str, ...]:
        """Return the names for agents; on one port, those for frontends lead to the same end."""
        both = self._one_port and served.frontends is not None
        return served.options.server_names + (served.options.frontend_names if both else ())

    def _unname(self, served: ServedTenant) -> None:
        self._agents.remove(self._names_of_agents(served), served.agents)
        if served.frontends is not None:
            self._frontends.remove(served.options.names_of_frontends, served.frontends)

    def _retire(self, served: ServedTenant) -> None:
        """Let the connections of a tenant that was replaced end within the time of a graceful shutdown."""
        self._unname(served)
        served.drain()
        self._retired[served] = None
        task_guard.start(self._process.tasks, lambda: self._close_when_idle(served), "tenant", f"end of {served.name}")

    async def _close_when_idle(self, served: ServedTenant) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.graceful_shutdown_timeout):
                await asyncio.sleep(_IDLE_CHECK_S)
                while not served.idle:
                    await asyncio.sleep(_IDLE_CHECK_S)
        if self._retired.pop(served, served) is None:
            await served.close("the tenant has changed")

    async def _remove(self, name: str) -> None:
        """Serve a tenant no more: its connections are closed."""
        self._directory.forget(name)
        self._claims.release(name)
        self._changes += 1
        served = self.states.pop(name).served
        if served is not None:
            self._unname(served)
            await served.close("the tenant is removed")
            for before in [each for each in self._retired if each.name == name]:
                del self._retired[before]
                await before.close("the tenant is removed")
            log.info("Tenant removed", tenant=name)

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials of all tenants."""
        return sum(each.unfinished for each in (*self.served(), *self._retired))

    @property
    def idle(self) -> bool:
        """Return whether every tenant is idle."""
        return all(each.idle for each in (*self.served(), *self._retired))

    def drain(self) -> None:
        """Tell the agents of all tenants to connect elsewhere; dials are served on."""
        for each in self.served():
            each.drain()

    async def close(self, reason: str) -> None:
        """Close every connection of every tenant."""
        self._notices.close()
        served = [*self.served(), *self._retired]
        self._retired.clear()
        for each in served:
            await each.close(reason)

"""Routes of the admin port: the API of the program and, if enabled, the web page, behind the check of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from konnectivity.http1.handlers import Handler, Routes
from konnectivity.http1.host_check import guarded
from konnectivity_server import dashboard
from konnectivity_server.server_options import ServerOptions


class AdminRoutes(Mapping[str, Handler]):
    """Routes of the admin port.

    Args:
        options: whether the page is served, and whether the port is local.
        own: routes of the program itself.

    """

    def __init__(self, options: ServerOptions, own: Routes) -> None:
        self._own = own
        self._pages = dashboard.routes(bool(options.tenants)) if options.dashboard else {}
        self._local = options.admin_is_local

    def __getitem__(self, path: str) -> Handler:
        page = self._pages.get(path)
        return guarded(page or self._own[path], self._local, page=page is not None)

    def __iter__(self) -> Iterator[str]:
        return iter((*self._pages, *self._own))

    def __len__(self) -> int:
        return len(self._pages) + len(self._own)

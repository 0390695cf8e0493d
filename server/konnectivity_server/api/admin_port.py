"""The admin port: the program's own endpoints, with the web page if it is wanted, for those it is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from konnectivity.http1.handlers import Handler, Routes
from konnectivity.http1.host_check import guarded
from konnectivity_server import dashboard
from konnectivity_server.server_options import ServerOptions


class AdminRoutes(Mapping[str, Handler]):
    """Everything that is served there, given the program's own endpoints."""

    def __init__(self, options: ServerOptions, own: Routes) -> None:
        self._own = own
        self._pages = dashboard.routes() if options.dashboard else {}
        self._local = options.admin_is_local

    def __getitem__(self, path: str) -> Handler:
        page = self._pages.get(path)
        return guarded(page or self._own[path], self._local, page=page is not None)

    def __iter__(self) -> Iterator[str]:
        return iter((*self._pages, *self._own))

    def __len__(self) -> int:
        return len(self._pages) + len(self._own)

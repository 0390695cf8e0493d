"""The admin port: the program's own endpoints, with the web page if it is wanted, for those it is meant for.

A page in the operator's browser may be of a site whose name its owner lets point to 127.0.0.1: it could then read what
is served there (DNS rebinding). Such a request has that name as its host. People and programs that mean a port of their
own machine say its address, or localhost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from konnectivity.destination import host_of
from konnectivity.http import Handler, Request, Response, Routes, text
from konnectivity_server import dashboard
from konnectivity_server.options import ServerOptions


class AdminRoutes(Mapping[str, Handler]):
    """Everything that is served there, given the program's own endpoints."""

    def __init__(self, options: ServerOptions, own: Routes) -> None:
        self._own = own
        self._pages = dashboard.routes() if options.dashboard else {}
        self._local = options.admin_is_local

    def __getitem__(self, path: str) -> Handler:
        handler = self._pages.get(path) or self._own[path]
        return handler if not self._local else lambda request: handler(request) if is_meant(request) else _misdirected()

    def __iter__(self) -> Iterator[str]:
        return iter((*self._pages, *self._own))

    def __len__(self) -> int:
        return len(self._pages) + len(self._own)


def is_meant(request: Request) -> bool:
    """Whether the request names this machine as its host. None at all is no browser's."""
    name = host_of(request.host).lower().rstrip(".")
    if not request.host or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _misdirected() -> Response:
    return text("this port is asked by address, or as localhost\n", 421)

"""Web page about a running server: its files, and the headers with which they are served.

Reads the files beside this module at the first request, also from a zip file. Does not know the data: the page asks
/api/v1 for them.
"""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

from konnectivity.http1.handlers import Handler, Later, Request, Response, Routes

INDEX, TENANTS = "index.html", "tenants.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FILES = (
    "access.js",
    "api.js",
    "app.js",
    "attention.js",
    "dom.js",
    "format.js",
    "icon.svg",
    "panels.js",
    "paths.js",
    "plot.js",
    "rates.js",
    "style.css",
    "table.js",
    "tenants.js",
    "theme.js",
    "views.js",
)
HEADERS = {
    "Cache-Control": "no-cache",  # a browser keeps the file and asks each time whether it changed
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _Asset(NamedTuple):
    body: bytes
    etag: str


def routes(many_tenants: bool = False) -> Routes:
    """Return the handler of each path of the page; of many tenants, the first page has all or `?tenant=NAME`."""
    files = {f"/dashboard/{name}": _handler(name) for name in FILES}
    one, every = _handler(INDEX), _handler(TENANTS)

    def first(request: Request) -> Response | Later:
        return (every if many_tenants and not request.value("tenant") else one)(request)

    return {"/": first, "/dashboard": first, **files}


def _handler(name: str) -> Handler:
    def handle(request: Request) -> Response:
        asset = _asset(name)
        headers = {**HEADERS, "ETag": asset.etag}
        if asset.etag in request.known:
            return Response(304, headers, b"")
        return Response(200, {**headers, "Content-Type": TYPES[name.rpartition(".")[2]]}, asset.body)

    return handle


@functools.cache
def _asset(name: str) -> _Asset:
    from importlib import resources  # loaded when the page is opened: it takes memory

    body = resources.files(__name__).joinpath(name).read_bytes()
    return _Asset(body, f'"{hashlib.sha256(body).hexdigest()[:20]}"')

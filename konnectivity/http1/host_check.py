"""Guard of admin ports against requests that a page of another site makes through the operator's browser. Pure.

A browser names the requesting site in Sec-Fetch-Site and in Origin, if the port is on this machine or has TLS. Against
DNS rebinding, where the name of a site resolves to 127.0.0.1, the Host header of a request to a local port must be an
address or localhost. Owns no port; does not know what a handler serves.
"""

from __future__ import annotations

from ipaddress import ip_address

from konnectivity.http1.handlers import Handler, Later, Request, Response, text
from konnectivity.net.addresses import host_of


def guarded(handler: Handler, local: bool = True, page: bool = False) -> Handler:
    """Return a handler that refuses requests of pages of other sites: 403, or 421 (RFC 9110 section 15.5.20).

    Args:
        handler: handler of all other requests.
        local: whether only this machine reaches the port, so that the Host must be an address or localhost.
        page: whether the response is a page, to which other sites may link.

    """

    def guard(request: Request) -> Response | Later:
        if local and not is_meant(request):
            return text("this port is asked by address, or as localhost\n", 421)
        if is_cross_site(request) and not (page and _is_navigation(request)):
            return text("this port answers no page of another site\n", 403)
        return handler(request)

    return guard


def is_cross_site(request: Request) -> bool:
    """Return whether a browser sent the request for a page of another site; curl sends no such header."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()


def _is_navigation(request: Request) -> bool:
    """Return whether the browser follows a link, and does not embed the page in another."""
    asked = [request.headers.get(f"sec-fetch-{name}") for name in ("mode", "dest")]
    return request.method == "GET" and asked == ["navigate", "document"]


def is_meant(request: Request) -> bool:
    """Return whether the Host is an address, localhost or missing; browsers always send one."""
    name = host_of(request.host).lower().rstrip(".")
    if not request.host or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

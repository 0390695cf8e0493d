"""Admin ports that no page of another site may ask through the operator's browser.

A browser says which site asks, in Sec-Fetch-Site and in Origin, as far as the port is on this machine or has TLS.
A page may be of a site whose name its owner lets point to 127.0.0.1: it could then read what is served there (DNS
rebinding). Such a request has that name as its host. People and programs that mean a port of their own machine say its
address, or localhost.
"""

from __future__ import annotations

from ipaddress import ip_address

from konnectivity.http1.handlers import Handler, Later, Request, Response, text
from konnectivity.net.addresses import host_of


def guarded(handler: Handler, local: bool = True, page: bool = False) -> Handler:
    """Return a handler that refuses what a page of another site asks: 403, or 421 (RFC 9110 section 15.5.20).

    Args:
        handler: answers all others.
        local: whether the port is of this machine only, and is asked by address or as localhost.
        page: whether the answer is a page, to which others may link.

    """

    def guard(request: Request) -> Response | Later:
        if local and not is_meant(request):
            return text("this port is asked by address, or as localhost\n", 421)
        if is_cross_site(request) and not (page and _is_navigation(request)):
            return text("this port answers no page of another site\n", 403)
        return handler(request)

    return guard


def is_cross_site(request: Request) -> bool:
    """Return whether a browser says that a page of another site asks. Programs such as curl say nothing of the kind."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()


def _is_navigation(request: Request) -> bool:
    """Return whether a person follows a link, and the page shall not be inside another."""
    asked = [request.headers.get(f"sec-fetch-{name}") for name in ("mode", "dest")]
    return request.method == "GET" and asked == ["navigate", "document"]


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

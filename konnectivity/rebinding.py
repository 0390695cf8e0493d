"""Ports of this machine that only those who mean it may ask: no page of another site in the operator's browser.

A page may be of a site whose name its owner lets point to 127.0.0.1: it could then read what is served there (DNS
rebinding). Such a request has that name as its host. People and programs that mean a port of their own machine say its
address, or localhost.
"""

from __future__ import annotations

from ipaddress import ip_address

from konnectivity.destination import host_of
from konnectivity.http import Handler, Later, Request, Response, text


def guarded(handler: Handler) -> Handler:
    """The same, for requests that are meant for this machine; 421 (RFC 9110 section 15.5.20) for any other."""

    def guard(request: Request) -> Response | Later:
        return handler(request) if is_meant(request) else text("this port is asked by address, or as localhost\n", 421)

    return guard


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

"""Set-up of the resolution of names: the resolvers that the settings ask for, and no others, since each takes memory.

Owns nothing. Does not know how a name server is dialled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from konnectivity.client.byte_pump import Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.forward.names.name_resolution import NameResolution
from konnectivity.forward.names.name_settings import NameSettings
from konnectivity.net import addresses

if TYPE_CHECKING:
    from konnectivity.forward.names.service_addresses import ServiceAddresses, ServiceLookup


def resolution_of(
    settings: NameSettings, dial: Callable[[str], Awaitable[Streams]], api: ServiceLookup | None
) -> NameResolution:
    """Return the resolution of names that settings describe.

    Args:
        settings: the rules and the name servers.
        dial: connects to "host:port" of a name server through the tunnel.
        api: the Kubernetes API; None: no setting needs it.

    """
    services, dns = None, None
    if api is not None and settings.needs_kubernetes:
        from konnectivity.forward.names.service_addresses import ServiceAddresses

        services = ServiceAddresses(api)
    if settings.name_servers:
        from konnectivity.forward.names.cluster_dns import ClusterDns

        dns = ClusterDns(settings.name_servers, _dial_by_service(dial, services))
    return NameResolution(settings.rules, dns, services)


def _dial_by_service(
    dial: Callable[[str], Awaitable[Streams]], services: ServiceAddresses | None
) -> Callable[[str], Awaitable[Streams]]:
    """Return a dial of name servers, which may be named by their Service."""

    async def dial_name_server(address: str) -> Streams:
        host, port = addresses.split(address)
        if not addresses.is_address(host) and services is not None:
            found = await services.addresses(host)
            if not found:
                raise DialError(DialFailure.ENDPOINT, f"there is no Service {host} with an address")
            address = addresses.joined(found[0], port)
        return await dial(address)

    return dial_name_server

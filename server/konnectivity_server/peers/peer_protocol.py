"""Names of the peer protocol: the gRPC path and the metadata keys that two servers of one set agree on. Pure."""

from __future__ import annotations

PATH = "/konnectivity.PeerService/Proxy"
SERVER_ID = "serverid"
TENANT = "tenant"  # name of the tenant that a tunnel belongs to; a server of one cluster sends none


def introduction(server_id: str, tenant: str) -> dict[str, str]:
    """Return the metadata by which a server introduces itself for one tenant; an empty tenant is not sent."""
    return {SERVER_ID: server_id, TENANT: tenant} if tenant else {SERVER_ID: server_id}

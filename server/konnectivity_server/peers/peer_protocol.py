"""Names of the peer protocol: the gRPC path and the metadata keys that two servers of one set agree on. Pure."""

from __future__ import annotations

PATH = "/konnectivity.PeerService/Proxy"
SERVER_ID = "serverid"

"""View of a server in memory, for tests of the admin API and the metrics."""

from __future__ import annotations

import asyncio

from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.api.server_view import ServerView
from konnectivity_server.api.traffic_samples import Sampler
from konnectivity_server.frontends.connect_frontend import ConnectFrontend
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.readiness import agent_trouble
from konnectivity_server.server_options import ServerOptions
from support.memory_server import MemoryServer


def view_of(server: MemoryServer) -> ServerView:
    """Return the view of a server in memory, whose clock is that of the running loop."""
    clock = asyncio.get_running_loop().time
    limits = ServerLimits(ServerOptions(), server.memory)
    gauges = {"agents": lambda: len(server.registry)}
    return ServerView(
        server_id="server-1",
        clock=clock,
        started_at=clock(),
        strategies=["default"],
        registry=server.registry,
        agents=server.service,
        dials=server.dials,
        connect=ConnectFrontend(server.dials.dial, limits.connect),
        agent_traffic=server.traffic,
        frontend_traffic=TunnelOptions().traffic,
        peer_traffic=server.peer_options.traffic,
        memory=server.memory,
        limits=limits,
        certificates={},
        sampler=Sampler(server.traffic, lambda: list(server.registry.all()), gauges),
        not_ready=lambda: agent_trouble(["default"], server.registry),
    )

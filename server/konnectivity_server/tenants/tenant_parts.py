"""Parts of the process that one tenant is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from konnectivity.metrics.program_families import CertificateFiles
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.workers.worker import Worker


@dataclass(slots=True)
class TenantParts:
    """Parts of the process that a tenant is given.

    Attributes:
        server_id: id that agents and other servers are told.
        tasks: group in which the tenant's tasks run.
        memory: memory budget of the tenant's tunnels.
        limits: limits of the tenant's peers.
        certificates: TLS files of the listeners, by listener.
        worker: the worker that this process is; None: the server has one process.
        sampled: whether the traffic is sampled from the start, or only while someone looks.

    """

    server_id: str
    tasks: asyncio.TaskGroup
    memory: MemoryBudget
    limits: ServerLimits
    certificates: Mapping[str, CertificateFiles]
    worker: Worker | None = None
    sampled: bool = True

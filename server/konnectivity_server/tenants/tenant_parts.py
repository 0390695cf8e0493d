"""Parts of the process that one tenant is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from konnectivity.metrics.program_families import CertificateFiles
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity_server.peers.peer_network import PeerNetwork
    from konnectivity_server.probes.common_rate import CommonRate


@dataclass(frozen=True, slots=True)
class ProcessParts:
    """Parts of a process that serves many tenants.

    Attributes:
        server_id: id that agents and other servers are told.
        tasks: group in which the tenants' tasks run.
        memory: memory budget of the process.
        limits: limits of the process.
        network: network of the other servers; None: there are none.
        worker: the worker that this process is; None: the server has one process.
        probe_rate: rate of the probes of all tenants together.

    """

    server_id: str
    tasks: asyncio.TaskGroup
    memory: MemoryBudget
    limits: ServerLimits
    network: PeerNetwork | None = None
    worker: Worker | None = None
    probe_rate: CommonRate | None = None


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
        network: network of the other servers; None: there are none.
        name: name of the tenant; empty: the server serves one cluster.
        sampled: whether the traffic is sampled from the start, or only while someone looks.
        probe_rate: rate of the probes of all tenants of the process; None: there is no other tenant.

    """

    server_id: str
    tasks: asyncio.TaskGroup
    memory: MemoryBudget
    limits: ServerLimits
    certificates: Mapping[str, CertificateFiles]
    worker: Worker | None = None
    network: PeerNetwork | None = None
    name: str = ""
    sampled: bool = True
    probe_rate: CommonRate | None = None

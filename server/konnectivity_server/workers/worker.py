"""Worker: the number of a process among the workers of one server, told by the supervisor when it starts the process.

Workers share the agents' port and the frontends. Each has its own server id, and private unix sockets in a common
directory: one for its health routes, one for its admin routes, one for dials of the other workers. No I/O.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from hashlib import sha256

VARIABLE = "_KONNECTIVITY_WORKER"  # not an option: only a supervisor sets it


@dataclass(frozen=True, slots=True)
class Worker:
    """Worker of a server.

    Args:
        index: number of the worker, from 0.
        count: number of workers.
        directory: directory of the workers' private sockets.
        frontend_fd: descriptor of the frontends' listening unix socket, inherited; -1: there is none.
        parent_fd: end of a pipe whose other end closes when the supervisor ends.
        again: whether the worker of this number ran before, and may have left unix sockets of tenants behind.

    """

    index: int
    count: int
    directory: str
    frontend_fd: int
    parent_fd: int
    again: bool = False

    @property
    def health(self) -> str:
        """Path of the socket for the health routes."""
        return endpoints_of(self.directory, self.index, admin=False)

    @property
    def admin(self) -> str:
        """Path of the socket for the admin routes."""
        return endpoints_of(self.directory, self.index, admin=True)

    @property
    def dials(self) -> str:
        """Path of the socket for dials of the other workers."""
        return self._dials_of(self.index)

    @property
    def siblings(self) -> list[tuple[str, int]]:
        """Sockets of the other workers for dials, as hosts of `PeerServers`."""
        return [(self._dials_of(index), 0) for index in range(self.count) if index != self.index]

    def listens_for(self, tenant: str) -> bool:
        """Return whether this worker is the one that listens on the unix socket of a tenant; the others relay."""
        return int.from_bytes(sha256(tenant.encode()).digest()[:8]) % self.count == self.index

    def server_id(self, server_id: str) -> str:
        """Return the server id of this worker, given that of the server as a whole."""
        return f"{server_id}-{self.index}"

    def _dials_of(self, index: int) -> str:
        return f"{self.directory}/dials-{index}.sock"

    def text(self) -> str:
        """Return the worker as the value of the environment variable."""
        return json.dumps(asdict(self))


def endpoints_of(directory: str, index: int, admin: bool) -> str:
    """Return the path of a worker's socket for the admin routes, or for the health routes."""
    return f"{directory}/{'admin' if admin else 'health'}-{index}.sock"


def taken(environment: MutableMapping[str, str] = os.environ) -> Worker | None:
    """Return the worker that this process is, or None; processes that it starts are no workers."""
    text = environment.pop(VARIABLE, "")
    return Worker(**json.loads(text)) if text else None

"""Where a worker stands among the others of one server: told by the supervisor when it starts it. No I/O of its own.

Workers share the agents' port and the frontends; each has its own server id, and a private unix socket in a common
directory for its endpoints and one for dials of its siblings.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

VARIABLE = "_KONNECTIVITY_WORKER"  # not an option: only a supervisor sets it


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker's.

    Args:
        index: from 0.
        count: of workers.
        directory: of their private sockets.
        frontend_fd: the listening unix socket of the frontends, inherited; -1: there is none.
        parent_fd: end of a pipe; the other end closes when the supervisor is gone.

    """

    index: int
    count: int
    directory: str
    frontend_fd: int
    parent_fd: int

    @property
    def endpoints(self) -> str:
        """Path of the socket for health and admin endpoints."""
        return endpoints_of(self.directory, self.index)

    @property
    def dials(self) -> str:
        """Path of the socket for dials of the siblings."""
        return self._dials_of(self.index)

    @property
    def siblings(self) -> list[tuple[str, int]]:
        """The same of the others, as hosts of `Peers`."""
        return [(self._dials_of(index), 0) for index in range(self.count) if index != self.index]

    def server_id(self, server_id: str) -> str:
        """This worker's, given that of the whole."""
        return f"{server_id}-{self.index}"

    def _dials_of(self, index: int) -> str:
        return f"{self.directory}/dials-{index}.sock"

    def text(self) -> str:
        return json.dumps(asdict(self))


def endpoints_of(directory: str, index: int) -> str:
    return f"{directory}/endpoints-{index}.sock"


def taken(environment: MutableMapping[str, str] = os.environ) -> Worker | None:
    """The place of this process, if it is a worker; processes that it starts are none."""
    text = environment.pop(VARIABLE, "")
    return Worker(**json.loads(text)) if text else None

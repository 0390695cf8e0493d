"""Launcher of worker processes: what a worker inherits and is told when it starts.

Owns the workers' common directory, the pipe by which they notice the supervisor's end, and the frontends' unix socket.
Does not know when a worker is started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile

from konnectivity.net.unix_socket import UnixSocket
from konnectivity_server.workers.worker import VARIABLE, Worker, endpoints_of


class WorkerLauncher:
    """Launcher of the workers of one server.

    Args:
        count: number of workers.
        server_id: id of the server as a whole.
        frontend: unix socket of the frontends, which the workers inherit; None: there is none.

    """

    def __init__(self, count: int, server_id: str, frontend: UnixSocket | None) -> None:
        self._count = count
        self._server_id = server_id
        self._frontend = frontend
        self._started: set[int] = set()
        self._directory = tempfile.mkdtemp(prefix="konnectivity-workers-")  # mode 0700
        self._parent = os.pipe()

    def socket_of(self, index: int, admin: bool) -> str:
        """Return the path of the unix socket with the admin routes of a worker, or with its health routes."""
        return endpoints_of(self._directory, index, admin)

    async def start(self, index: int) -> asyncio.subprocess.Process:
        """Start the worker of a number, with this program's arguments.

        Raises:
            OSError: no descriptor, process or memory is left.

        """
        frontend = -1 if self._frontend is None else self._frontend.socket.fileno()
        worker = Worker(index, self._count, self._directory, frontend, self._parent[0], index in self._started)
        self._started.add(index)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *sys.orig_argv[1:],
            env={**os.environ, VARIABLE: worker.text(), "KONNECTIVITY_SERVER_ID": self._server_id},
            pass_fds=[fd for fd in (frontend, self._parent[0]) if fd >= 0],
            start_new_session=True,  # a terminal's ^C reaches the workers once, through the supervisor
        )

    def drain(self) -> None:
        """Leave the frontends' unix socket to a successor that asks for it."""
        if self._frontend is not None:
            self._frontend.mark_leaving()

    def close(self) -> None:
        """Close the pipe, and remove the socket of the frontends and the common directory."""
        for fd in self._parent:
            os.close(fd)
        if self._frontend is not None:
            self._frontend.remove()
            self._frontend.socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

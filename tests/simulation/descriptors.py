"""Descriptors of a simulated process, and the socket objects that refer to them.

A `SimulatedSocket` has the part of the interface of `socket.socket` that the product uses. What is behind a descriptor,
an `Endpoint` or a `ListeningSocket`, belongs to the network.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
import socket
import stat
import struct
from typing import Any

FIRST_DESCRIPTOR = 10


class DescriptorTable:
    """Open descriptors of one process; a new one gets the lowest free number, as on a real machine."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}
        self._free: list[int] = []
        self._next = FIRST_DESCRIPTOR

    def add(self, thing: Any) -> int:
        """Return the new descriptor of an endpoint or a listening socket."""
        if self._free:
            number = heapq.heappop(self._free)
        else:
            number, self._next = self._next, self._next + 1
        self.open[number] = thing
        return number

    def remove(self, number: int) -> Any:
        """Close a descriptor, and return what was behind it; None if it was closed before."""
        thing = self.open.pop(number, None)
        if thing is not None:
            heapq.heappush(self._free, number)
        return thing


class _Kernel:
    """Network and event loop of the run that is under way."""

    network: Any = None
    loop: Any = None


KERNEL = _Kernel()


class SimulatedSocket:
    """Socket of the process that runs."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self._process = KERNEL.loop.current
        if fileno is None:
            self.family = socket.AF_INET if family == -1 else family
            self._fd = self._process.descriptors.add(KERNEL.network.new_endpoint(self._process, self.family))
        else:
            if fileno not in self._process.descriptors.open:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._fd = fileno
            self.family = self.behind.family
        self.type = socket.SOCK_STREAM
        self.proto = proto

    @property
    def behind(self) -> Any:
        """Return the endpoint or the listening socket of this descriptor."""
        try:
            return self._process.descriptors.open[self._fd]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def __enter__(self) -> SimulatedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._fd

    def detach(self) -> int:
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        fd = self.detach()
        thing = self._process.descriptors.remove(fd) if fd >= 0 else None
        if thing is not None:
            thing.close()

    def setblocking(self, flag: bool) -> None:
        return

    def settimeout(self, seconds: float | None) -> None:
        return

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.behind.options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.behind.take_error()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED):
            return struct.pack("3i", 1, 0, 0)
        return self.behind.options.get((level, option), 0)

    def getsockname(self) -> Any:
        return self.behind.address

    def getpeername(self) -> Any:
        return self.behind.peer_address

    def bind(self, address: Any) -> None:
        if isinstance(address, str):
            os.mknod(address, 0o777 | stat.S_IFSOCK)
        self.behind.address = address

    def listen(self, backlog: int = 128) -> None:
        self._process.descriptors.open[self._fd] = KERNEL.network.listen(self._process, self.behind)

    def accept(self) -> tuple[SimulatedSocket, Any]:
        endpoint = self.behind.take()
        fd = self._process.descriptors.add(endpoint)
        return SimulatedSocket(fileno=fd), endpoint.peer_address

    def connect_ex(self, address: Any) -> int:
        return int(KERNEL.network.begin_connect(self.behind, address))

    def connect(self, address: Any) -> None:
        """Connect to a unix socket, as a probe of whether a server is there does."""
        if not KERNEL.network.listens_at(address):
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


class SimulatedPoll:
    """`select.poll` for the one question whether both directions of a unix socket have ended."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def register(self, fd: int, events: int) -> None:
        self._fds.append(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        things = KERNEL.loop.current.descriptors.open
        return [(fd, select.POLLHUP) for fd in self._fds if fd in things and things[fd].hung_up]

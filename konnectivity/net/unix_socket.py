"""Path of a listening unix socket: bound only when no live server needs it, removed only by the process that bound it.

A draining server still answers at its socket until it ends. It marks the path (`mark_leaving`), so that its successor
takes the path over at once; from then on the path belongs to the successor.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep

from konnectivity.runtime import logs

log = logs.get(__name__)

SOCKET_MODE = 0o770
LEAVING = stat.S_ISVTX  # mode bit of the path of a draining server; without another meaning on a socket
TAKEOVER_TIMEOUT_S = 5.0  # seconds for a server that answers at the path to free the path
_RETRY_S = 0.1
_LOCK_TIMEOUT_S = 0.2  # a server holds the lock for less than a millisecond; another process may hold it longer
_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFREG: "an ordinary file", stat.S_IFLNK: "a symbolic link"}


class BoundPath:
    """Path at which this process has bound a socket that is open."""

    def __init__(self, path: str) -> None:
        self.path = path
        found = os.lstat(path)
        self._identity = (found.st_dev, found.st_ino)

    @property
    def is_ours(self) -> bool:
        """Return whether the path still leads to this socket, whose inode is unique while it is open."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def mark_leaving(self) -> None:
        """Mark the path, so that a successor takes it over at once."""
        with _locked(self.path), suppress(OSError):
            if self.is_ours:
                os.chmod(self.path, SOCKET_MODE | LEAVING)

    def remove(self) -> None:
        """Remove the path, unless another process has bound it since. Call this before the socket is closed."""
        with _locked(self.path), suppress(OSError):
            if self.is_ours:
                os.unlink(self.path)


class UnixSocket(BoundPath):
    """Listening unix socket of mode 0770, and its path."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        super().__init__(path)
        self.socket = sock

    def hand_over(self, private: str) -> BoundPath:
        """Replace this socket, which is closed, by the one that is bound at `private`."""
        with _locked(self.path):
            os.rename(private, self.path)
            taken = BoundPath(self.path)
        self.socket.close()
        return taken


async def bind_unix(
    path: str, replace: bool, backlog: int, takeover_timeout_s: float = TAKEOVER_TIMEOUT_S
) -> UnixSocket:
    """Return a listening socket at `path`, with mode 0770 from the start.

    Args:
        path: path of the socket.
        replace: whether a socket that no server needs is removed first.
        backlog: number of connections that may wait to be accepted.
        takeover_timeout_s: seconds to wait for a server that answers at the path to free it.

    Raises:
        OSError: the path cannot be bound; the text has the reason and the action.

    """
    end, warned = monotonic() + takeover_timeout_s, False
    while True:
        try:
            return _bind(path, replace, backlog)
        except _InUseError as error:
            if monotonic() >= end:
                raise OSError(str(error)) from None
            if not warned:
                log.warning(
                    "Waiting for another server to leave the unix socket", path=path, seconds=takeover_timeout_s
                )
                warned = True
        await asyncio.sleep(_RETRY_S)


def make_room(path: str, replace: bool) -> None:
    """Remove the socket at `path` if no server needs it.

    Raises:
        OSError: the path leads to something else, or a server answers at it.

    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not replace:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if not stat.S_ISSOCK(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something that is no socket")
        raise OSError(f"there is {kind} at this path; remove it, or choose another path")
    if not found.st_mode & LEAVING and _answers(path):
        raise _InUseError("another server answers there; stop it first, or choose another path")
    os.unlink(path)


class _InUseError(Exception):
    """Path that a live server answers at."""


def _bind(path: str, replace: bool, backlog: int) -> UnixSocket:
    with _locked(path):
        make_room(path, replace)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            sock.bind(path)
            sock.listen(backlog)
            sock.setblocking(False)
            return UnixSocket(sock, path)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(mask)


def _answers(path: str) -> bool:
    """Return whether a process listens at the socket of `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except PermissionError:
            raise
        except OSError:
            return True  # the socket's queue is full, or the socket is of another type
    return True


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other servers from changing the path during the block, if the file system has locks."""
    lock, end = -1, monotonic() + _LOCK_TIMEOUT_S
    with suppress(OSError):
        lock = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while lock >= 0 and monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                sleep(0.01)
            except OSError:
                break
        yield
    finally:
        if lock >= 0:
            os.close(lock)

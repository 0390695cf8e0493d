"""Read buffer of a thread: the memory that all sockets of an event loop read into, one at a time.

The kernel gives the buffer a page when a read first fills it, so a quiet process has few of its pages. A protocol
copies the received bytes before it returns to the event loop. Does not know sockets.
"""

from __future__ import annotations

import mmap
import threading

SIZE = 256 * 1024  # size of one read of uvloop under TLS


class _Thread(threading.local):
    def __init__(self) -> None:
        self.buffer = memoryview(mmap.mmap(-1, SIZE))


_thread = _Thread()


def buffer() -> memoryview:
    """Return the buffer of this thread, of SIZE bytes."""
    return _thread.buffer

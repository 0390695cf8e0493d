"""The memory that sockets read into: one buffer for each thread, since its event loop reads one socket at a time.

Who is given it hands on a copy of what came, before it returns to the event loop. Knows nothing of sockets.
"""

from __future__ import annotations

import threading

SIZE = 256 * 1024  # what uvloop reads at once under TLS


class _Thread(threading.local):
    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(SIZE))


_thread = _Thread()


def buffer() -> memoryview:
    """This thread's: SIZE bytes."""
    return _thread.buffer

"""File that exists in memory alone, for OpenSSL, which takes client and server certificates from files only. Linux."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_file(content: bytes) -> Iterator[str]:
    """Return the path of a file with this content, which lives for the block.

    Raises:
        OSError: this system has no such files, or no /proc to name them by.

    """
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        path = f"/proc/self/fd/{file.fileno()}"
        os.stat(path)
        yield path

"""Free blocks of glibc's heap. A module of its own: a quiet program loads neither this module nor ctypes."""

from __future__ import annotations

import ctypes


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


class Heap:
    """glibc's heap of this process.

    Raises:
        AttributeError: the C library is not glibc, or older than 2.33.

    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info, self._trim = library.mallinfo2, library.malloc_trim
        self._info.restype = _Mallinfo

    def free_bytes(self) -> int:
        """Return the size of all free blocks in bytes, resident or not."""
        return int(self._info().fordblks)

    def trim(self) -> None:
        """Return the pages of free blocks to the kernel; takes about 1 ms for 10 MiB."""
        self._trim(ctypes.c_size_t(0))

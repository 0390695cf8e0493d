"""Lifecycle of a program: event loop, signals, start errors and exit code. Does not know what the program does."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import uvloop

from konnectivity.errors import StartError
from konnectivity.kube.api_error import KubeError
from konnectivity.net.socket_listeners import ListenError
from konnectivity.runtime import memory_trim, task_guard
from konnectivity.runtime.logs import error_stream
from konnectivity.tls import TlsError

_LARGEST_BUFFER = 2 * 1024 * 1024


class Signals:
    """SIGINT and SIGTERM of this process.

    Attributes:
        first: set by the first signal.
        second: set by every later signal.

    """

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._received)

    def end(self) -> None:
        """Set both events, as two signals would."""
        self.first.set()
        self.second.set()

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, as Go programs do: each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reuse_memory() -> None:
    """Make glibc reuse freed buffers instead of returning them to the kernel.

    glibc maps blocks larger than 128 KiB, and trims the end of its heap, until a larger block was freed once
    (mallopt(3), "dynamic mmap threshold"): so allocate and free one. Without effect on other C libraries.
    """
    bytearray(_LARGEST_BUFFER)


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run `main` on uvloop and return its exit code: 1, and the reason on stderr, if the program cannot start."""
    error_stream.install()
    raise_file_limit()
    reuse_memory()
    # Objects of a proxy live long: without this, each full collection scans all of them in vain.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    code = 1
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            task_guard.guard_callbacks(runner.get_loop())
            memory_trim.start(runner.get_loop())
            code = runner.run(main())
    except* (ListenError, StartError, TlsError, KubeError) as group:
        for error in _leaves(group):
            print(f"Error: {error}", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
    return code


def random_id() -> str:
    """Return a random UUID of version 4 (RFC 9562); the standard library's module would load `platform`, too."""
    number = int.from_bytes(os.urandom(16))
    number = number & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    return [
        leaf for each in group.exceptions for leaf in (_leaves(each) if isinstance(each, ExceptionGroup) else [each])
    ]

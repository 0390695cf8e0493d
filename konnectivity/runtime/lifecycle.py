"""How a program of ours runs: uvloop, signals, and one way out. Knows nothing of what the program does."""

from __future__ import annotations

import asyncio
import gc
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
    """SIGINT and SIGTERM of this process: `first` is set by the first one; a second one sets `second`."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._received)

    def end(self) -> None:
        """As if both had come."""
        self.first.set()
        self.second.set()

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def raise_file_limit() -> None:
    """Allow as many open files as this process may have: each connection is one. (Go programs do the same.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reuse_memory() -> None:
    """Let buffers come from memory that this process has, not from the kernel, page by page, each time.

    glibc maps what is larger than 128 KiB, and gives back what is free at the end of its heap, until it has seen that
    larger blocks come and go (mallopt(3), "dynamic mmap threshold"): so show it one. Elsewhere this does nothing.
    """
    bytearray(_LARGEST_BUFFER)


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run `main` on uvloop and return its exit code. What cannot start says why on stderr and exits 1."""
    error_stream.install()
    raise_file_limit()
    reuse_memory()
    # The live objects of a proxy are long-lived: without this, full collections scan them all for nothing.
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


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    return [
        leaf for each in group.exceptions for leaf in (_leaves(each) if isinstance(each, ExceptionGroup) else [each])
    ]

"""Profiles of a running program under /debug/pprof: tasks, sampled stacks, memory, delay of the event loop.

The pages have the names of Go's, where people look for them, and hold plain text; stacks are in the collapsed form of
flame graph tools. Does not know the program.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import io
import resource
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from konnectivity.http1.handlers import Later, Request, Response, Routes, text
from konnectivity.metrics.histograms import Histogram
from konnectivity.untrusted.numbers import parse_decimal

MAX_SECONDS = 60
DEFAULT_SECONDS = 10
SAMPLES_PER_SECOND = 100
LAG_INTERVAL_S = 0.1
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_profiling = threading.Lock()  # held while a profile is taken: it occupies a thread of the pool that resolves names

_INDEX = """\
Profiles of this process:
  /debug/pprof/goroutine           what every asyncio task and thread is waiting for
  /debug/pprof/profile?seconds=10  stacks of the event loop's thread, 100 times a second, collapsed for flame graphs
  /debug/pprof/heap                memory, and the most frequent kinds of objects; with ?gc=1 it collects garbage first
  /debug/pprof/block               how late the event loop was (with --enable-contention-profiling)
"""


class LoopLag:
    """Delay of the event loop: lateness of a timer that is due ten times a second.

    Args:
        clock: returns monotonic seconds; the loop's own time stands still during a callback.

    Attributes:
        seconds: distribution of the delays.
        worst: longest delay in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = Histogram(LAG_BOUNDS)
        self.worst = 0.0
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock() + LAG_INTERVAL_S
        self._timer = self._loop.call_later(LAG_INTERVAL_S, self._tick)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        late = max(0.0, self._clock() - self._due)
        self.seconds.observe(late)
        self.worst = max(self.worst, late)
        self.start()


def routes(lag: LoopLag | None) -> Routes:
    """Return the pages. `lag` is None without contention profiling."""
    return {
        "/debug/pprof": lambda request: Response(301, {"Location": "/debug/pprof/"}, b""),
        "/debug/pprof/": lambda request: text(_INDEX),
        "/debug/pprof/goroutine": lambda request: text(_tasks()),
        "/debug/pprof/profile": _profile,
        "/debug/pprof/heap": _heap,
        "/debug/pprof/block": lambda request: _block(lag),
    }


def _tasks() -> str:
    out = io.StringIO()
    tasks = asyncio.all_tasks()
    out.write(f"{len(tasks)} tasks, {threading.active_count()} threads\n")
    for task in sorted(tasks, key=lambda each: each.get_name()):
        out.write("\n")
        task.print_stack(file=out)
    for ident, frame in sys._current_frames().items():
        name = next((thread.name for thread in threading.enumerate() if thread.ident == ident), str(ident))
        out.write(f"\nThread {name}\n" + "".join(f"  {line}\n" for line in _stack(frame)))
    return out.getvalue()


def _profile(request: Request) -> Response | Later:
    asked = parse_decimal(request.value("seconds"), most=10**9)
    seconds = DEFAULT_SECONDS if asked is None else min(max(asked, 1), MAX_SECONDS)
    if not _profiling.acquire(blocking=False):
        return text("a profile is being taken: ask again when it is done\n", 503)
    watched = threading.get_ident()
    return asyncio.get_running_loop().run_in_executor(None, _sample, watched, seconds)


def _sample(thread: int, seconds: int) -> Response | None:
    counts: collections.Counter[str] = collections.Counter()
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            frame = sys._current_frames().get(thread)
            counts[";".join(_stack(frame))] += 1
            time.sleep(1 / SAMPLES_PER_SECOND)
    finally:
        _profiling.release()
    return text("".join(f"{stack} {count}\n" for stack, count in counts.most_common()))


def _stack(frame: FrameType | None) -> list[str]:
    lines: list[str] = []
    while frame is not None:
        code = frame.f_code
        lines.append(f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return lines[::-1]


def _heap(request: Request) -> Response:
    found = gc.collect() if request.value("gc", "0") != "0" else None  # the same parameter as of Go's page
    kinds = collections.Counter(type(each).__name__ for each in gc.get_objects())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = [f"peak resident memory: {peak} KiB"]
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        lines += [" ".join(line.split()) for line in status if line.startswith(("VmRSS", "RssAnon", "RssFile"))]
    lines.append(f"garbage collections: {[each['collections'] for each in gc.get_stats()]}")
    if found is not None:
        lines.append(f"objects that only referred to each other: {found}")
    lines += ["", "objects known to the garbage collector:"]
    lines += [f"{count:8} {kind}" for kind, count in kinds.most_common(40)]
    return text("\n".join(lines) + "\n")


def _block(lag: LoopLag | None) -> Response:
    if lag is None:
        return text("not measured: start the program with --enable-contention-profiling\n", 404)
    lines = [f"a timer every {LAG_INTERVAL_S:g} s ran late by at most; times"]
    bounds = [f"{bound:g} s" for bound in lag.seconds.bounds] + ["more"]
    lines += [f"{bound:>8} {count}" for bound, count in zip(bounds, lag.seconds.cumulative(), strict=True)]
    return text("\n".join([*lines, f"the worst: {lag.worst:.6f} s"]) + "\n")

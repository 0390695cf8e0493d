"""Processes of a simulation, with the tasks, futures and timers that belong to them.

A process owns its callbacks, signals and descriptors. When they run is the matter of the event loop.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any

from simulation.descriptors import DescriptorTable


class SimulatedTask(asyncio.Task):
    """Task with a hash that does not depend on addresses, so that sets of tasks have one order in every run."""

    def __init__(self, number: int, process: SimulatedProcess, *args: Any, **options: Any) -> None:
        self._number = number  # before the task enters a set
        self.process = process
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class SimulatedFuture(asyncio.Future):
    """Future with a hash that does not depend on addresses."""

    _number = 0

    def __hash__(self) -> int:
        return self._number


class SimulatedProcess:
    """One program of a simulation: its callbacks, its signals and its descriptors.

    Attributes:
        name: of the program, in the trace.
        host: IP address of its machine.
        ready: callbacks that can run.
        frozen: whether it is stopped as by SIGSTOP.
        dead: whether it has ended.
        killed: whether it ended without a last word.

    """

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.ready: deque[events.Handle] = deque()
        self.frozen = False
        self.dead = False
        self.killed = False
        self.descriptors = DescriptorTable()
        self.signal_handlers: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self.main: asyncio.Task[Any] | None = None
        self.held: list[events.Handle] = []  # timers that were due while it was frozen
        self.kept: list[Any] = []  # what a killed process held: nothing of it may run, not even when memory is freed


class ProcessTimer(events.TimerHandle):
    """Timer that belongs to a process."""

    __slots__ = ("process",)

    process: SimulatedProcess

"""Event loop of a simulation: a virtual clock, and the processes that take turns on it in an order of chance.

Within a process callbacks run in the order in which they were scheduled, as asyncio promises. Which process runs next,
and when the network delivers, is drawn from the seed. When no process has work the clock jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from simulation.machine import MACHINE
from simulation.processes import ProcessTimer, SimulatedFuture, SimulatedProcess, SimulatedTask
from simulation.trace import Trace

LEAST_S = 1e-6  # a timer for a moment that rounds to now must not run at once, again and again
MAX_BURST = 8  # callbacks of one process before another one may run


class VirtualLoop(asyncio.BaseEventLoop):
    """Event loop of all simulated processes.

    Attributes:
        current: process whose callback runs.
        steps: callbacks that have run.

    """

    def __init__(self, seed: str, trace: Trace) -> None:
        super().__init__()
        self.kernel = SimulatedProcess("network", "0.0.0.0")
        self.current = self.kernel
        self.steps = 0
        self.trace = trace
        self.network: Any = None
        self.over = False
        self.errors: list[str] = []  # callbacks and tasks that raised
        self._chance = Random(f"{seed} order")
        self._runnable: list[SimulatedProcess] = []
        self._timers: list[tuple[float, int, ProcessTimer]] = []
        self._numbers = 0
        self.set_exception_handler(self._callback_raised)

    # ---- asyncio.AbstractEventLoop --------------------------------------------------------------------------------

    def time(self) -> float:
        return MACHINE.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self.post(self.current, handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        return self.call_at(MACHINE.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        when = max(when, MACHINE.now + LEAST_S)
        timer = ProcessTimer(when, callback, args, self, context)
        timer.process = self.current
        self._numbers += 1
        if not self.over and not self.current.dead:
            heapq.heappush(self._timers, (when, self._numbers, timer))
        return timer

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        return

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> SimulatedTask:
        self._numbers += 1
        options = {} if context is None else {"context": context}
        return SimulatedTask(self._numbers, self.current, coro, loop=self, name=name or "task", **options)

    def create_future(self) -> SimulatedFuture:
        self._numbers += 1
        future = SimulatedFuture(loop=self)
        future._number = self._numbers
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        self.current.signal_handlers[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.current.signal_handlers.pop(sig, None) is not None

    def get_debug(self) -> bool:
        return False

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self.network.watch_reading(self.current, fd, events.Handle(callback, args, self, None))

    def remove_reader(self, fd: Any) -> bool:
        return bool(self.network.watch_reading(self.current, fd, None))

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:
        self.network.watch_writing(self.current, fd, events.Handle(callback, args, self, None))

    def remove_writer(self, fd: Any) -> bool:
        return bool(self.network.watch_writing(self.current, fd, None))

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        await asyncio.sleep(0.001)
        import socket

        return socket.getaddrinfo(host, port, **options)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await self.network.connect(sock, address)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        return await self.network.client_transport(protocol_factory, host, port, **options)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **options: Any) -> Any:
        return await self.network.client_transport(protocol_factory, path, None, **options)

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **options: Any) -> Any:
        return await self.network.server_transport(protocol_factory, sock, **options)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        return self.network.serve(protocol_factory, host, port, **options)

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **options: Any) -> Any:
        return self.network.serve(protocol_factory, path, None, **options)

    # ---- processes ------------------------------------------------------------------------------------------------

    def post(self, process: SimulatedProcess, handle: events.Handle) -> None:
        """Let a callback of a process run."""
        if process.dead or self.over:
            return
        if not process.ready and not process.frozen:
            self._runnable.append(process)
        process.ready.append(handle)

    def call_in(self, process: SimulatedProcess, callback: Callable[..., object], *args: Any) -> None:
        """Let a function run in a process: the network has news for it."""
        if not process.dead:
            self.post(process, events.Handle(callback, list(args), self, None))

    def start(self, process: SimulatedProcess, main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Start a program."""
        before, self.current = self.current, process
        try:
            process.main = self.create_task(main(), name=process.name)
            process.main.add_done_callback(lambda done: self._ended(process, done))
        finally:
            self.current = before

    def signal(self, process: SimulatedProcess, number: int) -> None:
        """Deliver a signal; a program that has no handler yet ends, as the kernel ends it."""
        if number in process.signal_handlers:
            callback, args = process.signal_handlers[number]
            self.call_in(process, callback, *args)
        else:
            self.kill(process)

    def freeze(self, process: SimulatedProcess) -> None:
        """Stop a process as SIGSTOP does; what arrives for it waits."""
        process.frozen = True
        if process in self._runnable:
            self._runnable.remove(process)

    def thaw(self, process: SimulatedProcess) -> None:
        """Continue a frozen process."""
        process.frozen = False
        process.ready.extend(process.held)
        process.held.clear()
        if process.ready and not process.dead:
            self._runnable.append(process)

    def kill(self, process: SimulatedProcess) -> None:
        """End a process as SIGKILL does: nothing of it runs any more."""
        if process.dead:
            return
        process.kept += [process.ready, self.tasks_of(process)]
        process.killed = True
        self._bury(process)

    def _ended(self, process: SimulatedProcess, main: asyncio.Task[Any]) -> None:
        """Take notice that the main function of a process returned."""
        if not main.cancelled() and main.exception() is not None:
            self.errors.append(f"{process.name} ended with {main.exception()!r}")
        self.trace.note(process.name, "ended")
        process.kept.append(self.tasks_of(process))
        self._bury(process)

    def _bury(self, process: SimulatedProcess) -> None:
        process.dead = True
        if process in self._runnable:
            self._runnable.remove(process)
        process.ready = deque()
        self.network.process_ended(process)

    # ---- running --------------------------------------------------------------------------------------------------

    def run_until(self, moment: float) -> None:
        """Run all processes until a moment of the virtual clock."""
        events._set_running_loop(self)
        try:
            while True:
                if self._runnable:
                    self._run_some()
                elif self._timers and self._timers[0][0] <= moment:
                    self._advance()
                else:
                    break
            MACHINE.now = max(MACHINE.now, moment)
        finally:
            events._set_running_loop(None)
            self.current = self.kernel

    def _run_some(self) -> None:
        runnable = self._runnable
        count = len(runnable)
        place = int(self._chance.random() * count) if count > 1 else 0
        process = runnable[place]
        ready = process.ready
        self.current = process
        for _ in range(MAX_BURST if count == 1 else 1 + int(self._chance.random() * MAX_BURST)):
            if not ready or process.frozen:
                break
            handle = ready.popleft()
            if not handle._cancelled:
                self.steps += 1
                handle._run()
        self.current = self.kernel
        if not process.ready and process in runnable:
            runnable.remove(process)

    def _advance(self) -> None:
        """Move the clock to the next timer, and let what is due run."""
        timers = self._timers
        MACHINE.now = max(MACHINE.now, timers[0][0])
        while timers and timers[0][0] <= MACHINE.now:
            timer = heapq.heappop(timers)[2]
            process = timer.process
            if timer._cancelled or process.dead:
                continue
            if process is self.kernel:
                self.steps += 1
                timer._run()
            elif process.frozen:
                process.held.append(timer)
            else:
                self.post(process, timer)

    def tasks_of(self, process: SimulatedProcess) -> list[Any]:
        """Return the tasks of a process that have not ended."""
        return [each for each in asyncio.all_tasks(self) if isinstance(each, SimulatedTask) and each.process is process]

    def timers_of(self, process: SimulatedProcess) -> list[str]:
        """Return the names of the callbacks of the timers of a process that are set."""
        return [
            getattr(timer._callback, "__qualname__", repr(timer._callback))
            for *_, timer in self._timers
            if timer.process is process and not timer._cancelled
        ]

    def _callback_raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.over:
            error = context.get("exception")
            self.errors.append(f"{self.current.name}: {context.get('message')}: {error!r}")
            self.trace.note(self.current.name, "raised", repr(error))

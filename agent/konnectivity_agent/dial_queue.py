"""Queue of an agent's dials, with a lane for each server, so that thousands of dials of one server delay no other.

Owns the dials that wait, and the places of those that run. Few dials start in one pass of the event loop, so that
everything else the agent does has its turn. A dial of a name takes a place among the connection attempts only when the
name is known: names with silent name servers delay other names, and no address. Does not know how a dial is made.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from konnectivity.errors import TOO_MANY_DIALS
from konnectivity.net import addresses
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import LocalSide

MAX_RUNNING = 512  # connection attempts for one server at a time: each may hold a file descriptor
MAX_LOOKUPS = 1280  # dials of one server whose names are being looked up: each holds some 10 KiB and no descriptor
MAX_WAITING = 16_384  # dials of one server that have not started; a server of this project has at most 10,000
STARTS_PER_PASS = 8  # dials started in one pass of the event loop
MAX_WAIT_S = 30.0  # as long as kube-apiserver waits for a dial; a server that gives up earlier cancels the dial


class DialRequest(Protocol):
    """Dial that a server asks for, as `konnectivity.tunnel.serving.IncomingDial` is one.

    Attributes:
        protocol: "tcp", "tcp4" or "tcp6", unless the server sent something else.
        address: "host:port", unless the server sent something else.
        cancelled: whether the server wants no answer any more.
        on_cancel: called when the server cancels the dial.

    """

    protocol: str
    address: str
    cancelled: bool
    on_cancel: Callable[[], object] | None

    @property
    def tunnel(self) -> Hashable:
        """Return what tells the server from others."""

    def connected(self, local_side: LocalSide) -> Connection | None:
        """Answer with a connection that has this local side; return None if the server no longer wants one."""

    def failed(self, text: str) -> None:
        """Answer that there is no connection, and why."""


class _Waiting(NamedTuple):
    dial: DialRequest
    since: float


class _DialLane:
    """Lane of one server: its dials that wait, and the number of those that run."""

    __slots__ = ("addresses", "connecting", "looking_up", "names", "resolved")

    def __init__(self) -> None:
        self.connecting = 0
        self.looking_up = 0  # including those in `resolved`
        self.resolved: deque[Turn] = deque()  # names that are known, and wait for a place
        self.addresses: deque[_Waiting] = deque()
        self.names: deque[_Waiting] = deque()

    def __len__(self) -> int:
        """Return the number of dials that have not started."""
        return len(self.addresses) + len(self.names)

    @property
    def idle(self) -> bool:
        """Return whether no dial runs or waits."""
        return not (self.connecting or self.looking_up or self.addresses or self.names)

    @property
    def may_connect(self) -> bool:
        """Return whether there is room for one more connection attempt."""
        return self.connecting < MAX_RUNNING

    def startable(self) -> deque[_Waiting] | None:
        """Return the queue whose first dial may start, the older one if there are two; None if there is none."""
        of_address = self.addresses and self.connecting < MAX_RUNNING
        of_name = self.names and self.looking_up < MAX_LOOKUPS
        if of_address and of_name:
            return self.addresses if self.addresses[0].since <= self.names[0].since else self.names
        return self.addresses if of_address else self.names if of_name else None


class Turn:
    """Place of a running dial among those of its server."""

    __slots__ = ("_granted", "_lane", "_looks_up", "_queue", "_tunnel")

    def __init__(self, queue: DialQueue, tunnel: Hashable, lane: _DialLane, looks_up: bool) -> None:
        self._queue = queue
        self._tunnel = tunnel
        self._lane = lane
        self._looks_up = looks_up
        self._granted: asyncio.Future[None] | None = None
        if looks_up:
            lane.looking_up += 1
        else:
            lane.connecting += 1

    async def to_connect(self) -> None:
        """Wait until there is room for the connection attempt of a dial whose name is known."""
        if not self._looks_up:
            return
        if self._lane.may_connect and not self._lane.resolved:
            self._connects()
            return
        self._granted = asyncio.get_running_loop().create_future()
        self._lane.resolved.append(self)
        await self._granted

    def grant(self) -> bool:
        """Let the dial connect, and return True; return False if the dial was cancelled meanwhile."""
        if self._granted is None or self._granted.done():
            return False
        self._connects()
        self._granted.set_result(None)
        return True

    def ended(self) -> None:
        """Give the place back."""
        if self._looks_up:
            self._lane.looking_up -= 1
        else:
            self._lane.connecting -= 1
        self._queue.place_left(self._tunnel, self._lane)

    def _connects(self) -> None:
        self._looks_up = False
        self._lane.looking_up -= 1
        self._lane.connecting += 1


Start = Callable[[DialRequest, Turn], asyncio.Task[None] | None]


class DialQueue:
    """Starts dials, one of each server in turn.

    Args:
        start: starts a dial and returns its task, or None if the dial is over.
        reached: counts refused dials, as `dials_per_server`.

    """

    def __init__(self, start: Start, reached: Counter[str]) -> None:
        self._start = start
        self._reached = reached
        self._lanes: dict[Hashable, _DialLane] = {}
        self._loop = asyncio.get_running_loop()
        self._started = 0  # dials started in this pass of the event loop
        self._scheduled = False

    def __len__(self) -> int:
        """Return the number of dials that have not started."""
        return sum(map(len, self._lanes.values()))

    def open(self, dial: DialRequest) -> None:
        """Start a dial now if there is room, else in its turn; refuse it if too many dials of its server wait."""
        lane = self._lanes.get(dial.tunnel)
        if lane is None:
            lane = self._lanes[dial.tunnel] = _DialLane()
        waiting = len(lane.addresses) + len(lane.names)
        if waiting >= MAX_WAITING:
            self._refuse(dial)
            return
        queue = lane.names if _is_of_name(dial.address) else lane.addresses
        queue.append(_Waiting(dial, self._loop.time()))
        if self._started < STARTS_PER_PASS and not waiting:
            self._next(lane)
        self.schedule()

    def schedule(self) -> None:
        """Start dials in the next pass of the event loop, as far as there is room."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pass)

    def place_left(self, tunnel: Hashable, lane: _DialLane) -> None:
        """Schedule the next dial after a running one ended; forget the lane if it has no dials."""
        if lane.addresses or lane.names or lane.resolved:
            self.schedule()
        elif lane.idle and self._lanes.get(tunnel) is lane:
            del self._lanes[tunnel]

    def _pass(self) -> None:
        """Start dials as far as there is room, one of each server in turn."""
        self._scheduled = False
        self._started = 0
        lanes = list(self._lanes.values())
        while lanes and self._started < STARTS_PER_PASS:
            lanes = [lane for lane in lanes if self._next(lane)]
        for tunnel, lane in list(self._lanes.items()):
            if lane.idle:
                del self._lanes[tunnel]
        if lanes:
            self.schedule()

    def _next(self, lane: _DialLane) -> bool:
        """Start or continue one dial of a server and return True; return False if there is none that may."""
        while lane.resolved and lane.may_connect:
            if lane.resolved.popleft().grant():
                self._started += 1
                return True
        queue = lane.startable()
        if queue is None:
            return False
        dial, since = queue.popleft()
        if dial.cancelled:
            return True
        if self._loop.time() - since > MAX_WAIT_S:
            self._refuse(dial)
        else:
            self._begin(dial, lane, queue is lane.names)
        return True

    def _begin(self, dial: DialRequest, lane: _DialLane, looks_up: bool) -> None:
        self._started += 1
        turn = Turn(self, dial.tunnel, lane, looks_up)
        task = self._start(dial, turn)
        if task is None:
            turn.ended()
        else:
            task.add_done_callback(lambda _: turn.ended())

    def _refuse(self, dial: DialRequest) -> None:
        self._reached["dials_per_server"] += 1
        dial.failed(f"dial {dial.protocol} {dial.address}: {TOO_MANY_DIALS}")


def _is_of_name(address: str) -> bool:
    """Return whether a name must be looked up before an address can be dialled."""
    host = addresses.host_of(address)
    return bool(host) and not addresses.is_address(host)

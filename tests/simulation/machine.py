"""Machine that the product runs on in a simulation: virtual time, chance from the seed, sockets in memory.

Replaces the functions of the standard library by which a program reaches its machine. `install` is called once, before
the product is imported, in a process that runs nothing but simulations; the product itself is unchanged.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import random
import secrets
import select
import socket
import sys
import tempfile  # noqa: F401  before the replacement, so that names of directories take no chance of the run
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from simulation import tenant_files
from simulation.descriptors import SimulatedPoll, SimulatedSocket

EPOCH_S = 1_700_000_000.0  # wall clock at the beginning of a run
FIRST_S = 1000.0  # monotonic clock at the beginning of a run


class Machine:
    """Clock and chance of the run that is under way.

    Attributes:
        now: virtual monotonic seconds.
        chance: source of every random number that the product draws.
        start_thread: runs the function of a new thread.

    """

    def __init__(self) -> None:
        self.now = FIRST_S
        self.chance = random.Random(0)
        self.start_thread: Callable[[Callable[[], None]], None] = lambda work: work()

    def reset(self, seed: str) -> None:
        """Begin a new run."""
        self.now = FIRST_S
        self.chance = random.Random(seed)


MACHINE = Machine()
_RealRandom = random.Random


class _ChancedRandom(_RealRandom):
    """Random numbers that, without a seed, depend on the seed of the run."""

    def __init__(self, seed: Any = None) -> None:
        super().__init__(MACHINE.chance.getrandbits(64) if seed is None else seed)


class _VirtualDatetime(datetime.datetime):
    """Date and time by the virtual clock."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _VirtualDatetime:
        return cls.fromtimestamp(EPOCH_S + MACHINE.now, tz)


class _Thread:
    """Thread whose function runs on the event loop, at a moment of the simulation's choice."""

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        self._target = target

    def start(self) -> None:
        MACHINE.start_thread(self._target)


def _monotonic() -> float:
    return MACHINE.now


def _no_library(name: object, **_: Any) -> Any:
    """Refuse C functions: the kernel's events about files (inotify) would not follow the virtual clock."""
    raise OSError("a simulated machine has no C library")


def _look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
    """Return numeric hosts and the wildcard as they are, and the address in the name of a tenant's server."""
    host = host.decode() if isinstance(host, bytes) else host
    number = int(port or 0)
    if not host:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", number))]
    host = tenant_files.address_in(host) or host
    if not host.replace(".", "").isdigit():
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, number))]


def install() -> None:
    """Replace this computer by the simulated machine.

    Raises:
        RuntimeError: the product was imported before.

    """
    if any(
        name.partition(".")[0] in ("konnectivity", "konnectivity_server", "konnectivity_agent") for name in sys.modules
    ):
        raise RuntimeError("the product was imported before the machine was replaced")
    replacements: Iterable[tuple[Any, str, Any]] = (
        (time, "monotonic", _monotonic),
        (time, "perf_counter", _monotonic),
        (time, "clock_gettime", lambda clock: EPOCH_S + MACHINE.now),
        (time, "sleep", _forbidden),
        (datetime, "datetime", _VirtualDatetime),
        (random, "Random", _ChancedRandom),
        (secrets, "randbits", lambda bits: MACHINE.chance.getrandbits(bits)),
        (secrets, "randbelow", lambda limit: MACHINE.chance.randrange(limit)),
        (secrets, "token_hex", lambda size=32: MACHINE.chance.randbytes(size).hex()),
        (os, "urandom", lambda size: MACHINE.chance.randbytes(size)),
        (socket, "socket", SimulatedSocket),
        (socket, "getaddrinfo", _look_up),
        (select, "poll", SimulatedPoll),
        (threading, "Thread", _Thread),
        (ctypes, "CDLL", _no_library),
    )
    for module, name, value in replacements:
        setattr(module, name, value)


def _forbidden(seconds: float) -> None:
    raise AssertionError(f"the product blocks its event loop for {seconds} s")

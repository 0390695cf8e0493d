"""Look-ups beside each other: slow names, shared ones, more than there may be, and errors."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter

import pytest

from konnectivity_agent import resolver
from konnectivity_agent.name_probe import Silence
from konnectivity_agent.resolver import Resolver


class Names:
    """Stands where the system's resolver is: some names wait until they are let go."""

    def __init__(self):
        self.asked = Counter()
        self.free = threading.Event()

    def __call__(self, host, port, family=0, type=0):
        self.asked[host] += 1
        if "slow" in host:
            self.free.wait(10)
        if host.endswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
        return [*found, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 3))]


class Servers:
    """Stands where a probe of name servers is: some are silent, some slow."""

    full = False

    def __init__(self):
        self.asked = Counter()

    def knows(self, name):
        return name.startswith("file")

    async def ask(self, name):
        self.asked[name] += 1
        if name.startswith("silent"):
            await asyncio.sleep(0.2)
            raise Silence(f"no name server answers for {name}")
        return not name.startswith("late")


@pytest.fixture
def names(monkeypatch):
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.free.set()


async def asking(lookups):
    tasks = [asyncio.create_task(lookup) for lookup in lookups]
    await asyncio.sleep(0.05)
    return tasks


async def test_the_port_is_the_one_asked_for(names):
    found = await Resolver().addresses("fast", 443)
    assert [address for *_, address in found] == [("192.0.2.1", 443), ("2001:db8::1", 443, 0, 3)]


async def test_slow_names_hold_up_no_other(names):
    mine = Resolver()
    slow = await asking(mine.addresses(f"slow-{n}", 1) for n in range(30))
    async with asyncio.timeout(2):
        await mine.addresses("fast", 1)
    names.free.set()
    assert len(await asyncio.gather(*slow)) == 30


async def test_who_asks_for_a_name_under_way_shares_its_look_up(names):
    mine = Resolver()
    slow = await asking(mine.addresses("slow", port) for port in range(1, 101))
    assert names.asked["slow"] == 1
    names.free.set()
    assert [found[0][4][1] for found in await asyncio.gather(*slow)] == list(range(1, 101))


async def test_one_that_takes_long_is_not_joined_and_a_name_has_only_some(names, monkeypatch):
    monkeypatch.setattr(resolver, "FRESH_S", 0.0)
    mine = Resolver()
    slow = await asking(mine.addresses("slow", 1) for _ in range(20))
    assert names.asked["slow"] == resolver.MAX_PER_NAME
    names.free.set()
    await asyncio.gather(*slow)


async def test_more_than_there_may_be_wait_and_those_nobody_waits_for_are_left_out(names, monkeypatch):
    monkeypatch.setattr(resolver, "FIRST_THREADS", 1)
    monkeypatch.setattr(resolver, "PROMPT_THREADS", 1)
    mine = Resolver(Servers())
    slow = await asking(mine.addresses(name, 1) for name in ("slow-1", "slow-2", "given-up", "fast"))
    assert set(names.asked) == {"slow-1", "slow-2"}
    slow[2].cancel()
    await asyncio.sleep(0)
    names.free.set()
    await asyncio.gather(*slow, return_exceptions=True)
    assert set(names.asked) == {"slow-1", "slow-2", "fast"}


async def test_when_the_first_threads_are_occupied_names_are_probed(names):
    servers, reached = Servers(), Counter()
    mine = Resolver(servers, reached)
    slow = await asking(mine.addresses(f"slow-{n}", 1) for n in range(resolver.FIRST_THREADS))
    assert not servers.asked
    silent = await asking(mine.addresses(f"silent-{n}", 1) for n in range(200))
    late = await asking(mine.addresses(f"late-slow-{n}", 1) for n in range(50))
    async with asyncio.timeout(2):
        await mine.addresses("fast", 1)
        await mine.addresses("file", 1)
        with pytest.raises(socket.gaierror, match="no name server answers"):
            await silent[0]
    assert servers.asked["file"] == 0
    assert not [name for name in names.asked if name.startswith("silent")]
    assert len([name for name in names.asked if name.startswith("late")]) <= resolver.SLOW_THREADS
    assert reached == {"name_lookups": 251}
    names.free.set()
    await asyncio.gather(*slow, *silent, *late, return_exceptions=True)


async def test_dials_for_one_name_that_is_probed_share_a_look_up(names):
    mine = Resolver(Servers())
    slow = await asking(mine.addresses(f"slow-{n}", 1) for n in range(resolver.FIRST_THREADS))
    await asyncio.gather(*(mine.addresses("fast", port) for port in range(1, 50)))
    assert names.asked["fast"] == 1
    names.free.set()
    await asyncio.gather(*slow)


async def test_errors_are_those_of_the_system(names, monkeypatch):
    mine = Resolver()
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            await mine.addresses("unknown", 1)
    monkeypatch.undo()
    with pytest.raises(UnicodeError):
        await mine.addresses("a" * 70 + ".example", 1)


async def test_who_gives_up_leaves_the_others(names):
    mine = Resolver()
    first, second = await asking(mine.addresses("slow-unknown", 1) for _ in range(2))
    first.cancel()
    await asyncio.sleep(0)
    names.free.set()
    with pytest.raises(socket.gaierror):
        await second


async def test_a_machine_without_threads(names, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    began = time.monotonic()
    with pytest.raises(OSError, match="can't start new thread"):
        await Resolver().addresses("fast", 1)
    assert time.monotonic() - began < 1

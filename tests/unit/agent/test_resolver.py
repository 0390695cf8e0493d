"""Concurrent lookups of targets' names, with a resolver, threads and a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from konnectivity_agent.name_probe import Silence
from konnectivity_agent.resolver import FRESH_S, MAX_PER_NAME, Resolver, SystemResolver

FOUND = [
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 3)),
]


class Machine:
    """System resolver whose threads end when the test says so. `started` names the lookups that began."""

    def __init__(self):
        self.started = Counter()
        self.now = 1000.0
        self._threads = []

    @property
    def system(self):
        return SystemResolver(self._getaddrinfo, self._start, lambda: self.now)

    async def finish(self):
        """End all threads, and those that start in their place, until none is left."""
        while self._threads:
            work = self._threads.pop(0)
            work()
            await passes()

    def _start(self, work, name):
        self.started[name.removeprefix("lookup of ")] += 1
        self._threads.append(work)

    def _getaddrinfo(self, host, port, family, kind):
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host.startswith("odd"):
            raise UnicodeError("no name")
        return FOUND


class NameServers:
    """Probe of name servers: names that begin with "silent" have silent servers, names with "late" slow ones."""

    full = False

    def __init__(self):
        self.asked = Counter()

    def knows(self, name):
        return name.startswith("file")

    async def ask(self, name):
        self.asked[name] += 1
        if name.startswith("silent"):
            raise Silence(f"no name server answers for {name}")
        return not name.startswith("late")


async def passes():
    for _ in range(5):
        await asyncio.sleep(0)


async def begun(lookups):
    """Start lookups and return their tasks after every step that needs no thread."""
    tasks = [asyncio.create_task(lookup) for lookup in lookups]
    await passes()
    return tasks


def resolver(machine, threads=(32, 24, 8), reached=None, probe=None):
    return Resolver(Counter() if reached is None else reached, probe or NameServers(), threads, machine.system)


async def test_the_port_asked_for_is_in_every_address():
    machine = Machine()
    (lookup,) = await begun([resolver(machine).addresses("name", 443)])
    await machine.finish()
    assert [address for *_, address in await lookup] == [("192.0.2.1", 443), ("2001:db8::1", 443, 0, 3)]


async def test_every_name_has_a_thread_of_its_own():
    machine = Machine()
    mine = resolver(machine)
    lookups = await begun(mine.addresses(f"name-{number}", 1) for number in range(30))
    assert len(machine.started) == 30
    await machine.finish()
    await asyncio.gather(*lookups)


async def test_dials_of_one_name_share_a_lookup():
    machine = Machine()
    mine = resolver(machine)
    lookups = await begun(mine.addresses("name", port) for port in range(1, 101))
    assert machine.started == {"name": 1}
    await machine.finish()
    assert [found[0][4][1] for found in await asyncio.gather(*lookups)] == list(range(1, 101))


async def test_the_two_families_of_a_name_are_looked_up_separately():
    machine = Machine()
    mine = resolver(machine)
    await begun(mine.addresses("name", 1, family) for family in (socket.AF_INET, socket.AF_INET6))
    assert machine.started == {"name": 2}
    await machine.finish()


async def test_a_lookup_that_takes_long_is_not_joined_and_a_name_has_only_a_few_lookups():
    machine = Machine()
    mine = resolver(machine)
    lookups = []
    for _ in range(2 * MAX_PER_NAME):
        lookups += await begun([mine.addresses("name", 1)])
        machine.now += FRESH_S
    assert machine.started == {"name": MAX_PER_NAME}
    await machine.finish()
    assert len(await asyncio.gather(*lookups)) == 2 * MAX_PER_NAME


async def test_a_lookup_waits_for_a_thread_and_is_left_out_if_nobody_waits_for_it():
    machine = Machine()
    mine = resolver(machine, (1, 1, 1))
    lookups = await begun(mine.addresses(name, 1) for name in ("first", "second", "given-up", "last"))
    assert set(machine.started) == {"first", "second"}
    lookups[2].cancel()
    await machine.finish()
    assert set(machine.started) == {"first", "second", "last"}
    found = await asyncio.gather(*lookups, return_exceptions=True)
    assert isinstance(found[2], asyncio.CancelledError)


async def test_when_the_first_threads_are_occupied_names_are_probed():
    machine, servers, reached = Machine(), NameServers(), Counter()
    mine = resolver(machine, (2, 2, 3), reached, servers)
    first = await begun(mine.addresses(f"first-{number}", 1) for number in range(2))
    assert not servers.asked
    silent = await begun(mine.addresses(f"silent-{number}", 1) for number in range(20))
    late = await begun(mine.addresses(f"late-{number}", 1) for number in range(10))
    prompt = await begun([mine.addresses("prompt", 1), mine.addresses("file", 1)])
    for lookup in silent:
        with pytest.raises(socket.gaierror, match="no name server answers"):
            await lookup
    assert servers.asked["file"] == 0
    assert Counter(name.partition("-")[0] for name in machine.started) == {
        "first": 2,
        "late": 3,
        "prompt": 1,
        "file": 1,
    }
    assert reached == {"name_lookups": 31}
    await machine.finish()
    assert len(await asyncio.gather(*first, *late, *prompt)) == 14


async def test_names_beyond_the_most_probes_are_counted():
    machine, servers, reached = Machine(), NameServers(), Counter()
    servers.full = True
    mine = resolver(machine, (1, 1, 1), reached, servers)
    await begun(mine.addresses(name, 1) for name in ("first", "silent"))
    assert reached == {"name_probes": 1}
    await machine.finish()


async def test_dials_of_one_name_that_is_probed_share_a_lookup():
    machine = Machine()
    mine = resolver(machine, (1, 1, 1))
    lookups = await begun([mine.addresses("first", 1), *(mine.addresses("name", port) for port in range(1, 50))])
    assert machine.started == {"first": 1, "name": 1}
    await machine.finish()
    await asyncio.gather(*lookups)


async def test_errors_are_those_of_the_system():
    machine = Machine()
    mine = resolver(machine)
    for name, kind in (("unknown", socket.gaierror), ("unknown", socket.gaierror), ("odd", UnicodeError)):
        (lookup,) = await begun([mine.addresses(name, 1)])
        await machine.finish()
        with pytest.raises(kind):
            await lookup


async def test_a_dial_that_gives_up_leaves_the_lookup_to_the_others():
    machine = Machine()
    mine = resolver(machine)
    first, second = await begun(mine.addresses("name", 1) for _ in range(2))
    first.cancel()
    await machine.finish()
    assert len(await second) == len(FOUND)


async def test_without_a_thread_a_lookup_fails_at_once_and_the_next_one_is_tried():
    machine = Machine()

    def start(work, name):
        raise RuntimeError("can't start new thread")

    mine = Resolver(Counter(), NameServers(), (1, 1, 1), machine.system._replace(start_thread=start))
    for _ in range(3):
        with pytest.raises(OSError, match="can't start new thread"):
            await mine.addresses("name", 1)

"""Dials of an agent that end before a socket is opened, with a resolver in memory and a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from konnectivity.net.destination_policy import parse
from konnectivity_agent.dial_queue import DialQueue
from konnectivity_agent.dialer import DIAL_TIMEOUT_S, DialCounters, Dialer
from support.memory_server import advance, in_still_time


class Asked:
    """Dial that keeps its answer."""

    tunnel = "a tunnel"
    cancelled = False
    on_cancel = None

    def __init__(self, address, protocol="tcp"):
        self.address, self.protocol = address, protocol
        self.text = None

    def failed(self, text):
        assert self.text is None, "a second answer"
        self.text = text


class Names:
    """Resolver with one answer: addresses, an error, or None for no answer at all."""

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = []

    async def addresses(self, host, port, family):
        self.asked.append(host)
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in self.answer]


async def dialled(asked, names, policy=None, seconds=0.0):
    """Run one dial and return the counters."""
    counters = DialCounters()
    async with asyncio.TaskGroup() as tasks:
        dialer = Dialer(tasks, counters, policy or parse([], []), names, clock=asyncio.get_running_loop().time)
        DialQueue(dialer.open, Counter()).open(asked)
        await advance(0)
        await advance(seconds)
        await advance(0)
    return counters


@in_still_time
@pytest.mark.parametrize(
    ("address", "protocol"), [("no port", "tcp"), ("10.0.0.1:99999", "tcp"), ("10.0.0.1:80", "udp"), ("", "tcp")]
)
async def test_an_address_that_cannot_be_dialled_is_refused_at_once(address, protocol):
    asked, names = Asked(address, protocol), Names()
    counters = await dialled(asked, names)
    assert asked.text
    assert counters.failures == {"unknown": 1}
    assert names.asked == []


@in_still_time
async def test_a_numeric_address_that_the_policy_denies_is_refused_and_counted():
    asked = Asked("10.0.0.1:80")
    counters = await dialled(asked, Names(), parse([], ["10.0.0.0/8"]))
    assert asked.text == (
        "dial tcp 10.0.0.1:80: refused by the agent's policy: 10.0.0.1 port 80 is denied by 10.0.0.0/8"
    )
    assert counters.denied == {"denied": 1}
    assert counters.failures == {}


@in_still_time
async def test_the_policy_judges_the_addresses_of_a_name():
    asked, names = Asked("inside.test:80"), Names(["10.0.0.1", "10.0.0.2"])
    counters = await dialled(asked, names, parse([], ["10.0.0.0/8"]))
    assert "10.0.0.1 port 80 is denied" in asked.text
    assert names.asked == ["inside.test"]
    assert counters.denied == {"denied": 1}


@in_still_time
async def test_a_lookup_without_an_answer_ends_after_the_time_of_the_dial():
    asked = Asked("silent.test:80")
    counters = await dialled(asked, Names(None), seconds=DIAL_TIMEOUT_S)
    assert asked.text == "dial tcp silent.test:80: i/o timeout"
    assert counters.failures == {"timeout": 1}


@in_still_time
async def test_a_cancelled_dial_ends_without_an_answer():
    asked = Asked("silent.test:80")
    async with asyncio.TaskGroup() as tasks:
        task = Dialer(tasks, counters := DialCounters(), parse([], []), Names(None)).open(asked)
        await advance(0)
        asked.on_cancel()
        await advance(0)
        assert task.cancelled()
    assert asked.text is None
    assert counters.failures == {}


@in_still_time
async def test_a_dial_that_arrives_while_the_agent_ends_is_not_made_and_leaves_its_place():
    asked, names = Asked("silent.test:80"), Names(None)
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            queue = DialQueue(Dialer(tasks, DialCounters(), parse([], []), names).open, Counter())
            raise ValueError("the end of the agent")
    queue.open(asked)
    await advance(0)
    assert asked.text is None
    assert names.asked == []
    assert not queue._lanes

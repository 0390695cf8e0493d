"""Lookup of the addresses of servers, with an injected resolver and a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket

import pytest

from konnectivity_agent.pool_plan import DialAddress
from konnectivity_agent.server_lookup import LOOKUP_INTERVAL_S, LOOKUP_TIMEOUT_S, ServerLookup
from support.memory_server import advance, in_still_time

A, B = ("a.test", 8091), ("b.test", 8132)


def resolver(known):
    """Return a `getaddrinfo` that knows some names; an exception in place of addresses is raised."""

    async def getaddrinfo(host, port, type):
        found = known[host]
        if isinstance(found, Exception):
            raise found
        if found is None:
            await asyncio.Event().wait()
        return [(socket.AF_INET, type, 6, "", (ip, port)) for ip in found]

    return getaddrinfo


@in_still_time
async def test_every_address_of_every_host_is_returned_once():
    lookup = ServerLookup(
        [A, B], getaddrinfo=resolver({"a.test": ["10.0.0.1", "10.0.0.2", "10.0.0.1"], "b.test": ["::1"]})
    )
    assert await lookup.addresses() == [
        DialAddress("a.test", 8091, "10.0.0.1"),
        DialAddress("a.test", 8091, "10.0.0.2"),
        DialAddress("b.test", 8132, "::1"),
    ]


@in_still_time
@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("no name"), TimeoutError()])
async def test_a_host_that_cannot_be_looked_up_is_returned_by_its_name(error):
    lookup = ServerLookup([A, B], getaddrinfo=resolver({"a.test": error, "b.test": ["10.0.0.9"]}))
    assert await lookup.addresses() == [DialAddress("a.test", 8091), DialAddress("b.test", 8132, "10.0.0.9")]


@in_still_time
async def test_a_name_server_that_does_not_answer_costs_a_bounded_time():
    lookup = ServerLookup([A], getaddrinfo=resolver({"a.test": None}))
    async with asyncio.TaskGroup() as tasks:
        found = tasks.create_task(lookup.addresses())
        await advance(0.0)
        await advance(LOOKUP_TIMEOUT_S)
        assert await found == [DialAddress("a.test", 8091)]


@in_still_time
async def test_a_host_that_is_dialled_by_name_is_not_looked_up():
    lookup = ServerLookup([A], [A], getaddrinfo=resolver({}))
    assert await lookup.addresses() == [DialAddress("a.test", 8091)]


@in_still_time
async def test_it_is_due_at_first_and_then_an_interval_after_each_lookup():
    lookup = ServerLookup([A], getaddrinfo=resolver({"a.test": ["10.0.0.1"]}))
    assert lookup.due
    await lookup.addresses()
    assert not lookup.due
    await advance(LOOKUP_INTERVAL_S)
    assert lookup.due


@in_still_time
async def test_it_can_be_hastened_and_never_put_off():
    lookup = ServerLookup([A], getaddrinfo=resolver({"a.test": ["10.0.0.1"]}))
    await lookup.addresses()
    lookup.hasten(3.0)
    lookup.hasten(10.0)
    assert not lookup.due
    await advance(3.0)
    assert lookup.due
    await lookup.addresses()
    lookup.hasten()
    assert lookup.due

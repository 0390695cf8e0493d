"""Tests of many dials through each pair of ours and the reference: no failure, and no connection left behind.

200 connections are held at once through every pair. The newest version carries 10,000 dials in each direction. The
other pairs and the second frontend carry 1,000, which are enough to show a connection that is left behind. The
client is this project's: the Go clients have their 200 at once in test_reference.py. Two pairs run side by side.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from reference_pairs import (
    NEWEST,
    OURS,
    PAIRINGS,
    Pairing,
    echo_once,
    eventually,
    result,
)

from support import targets
from support.targets import listening

MANY, FEWER = 10_000, 1_000
UNDER_WAY = 50  # dials at the same time
HELD = 200
ALL = (*PAIRINGS, Pairing(NEWEST, OURS, "grpc"), Pairing(OURS, NEWEST, "grpc"))
pytestmark = pytest.mark.timeout(600)


def number_of_dials(pairing):
    return MANY if {pairing.server, pairing.agent} == {NEWEST, OURS} and pairing.frontend != "grpc" else FEWER


def open_connections(pair):
    """Return the numbers of open connections that the programs count.

    The agent in Go counts none. A server of the reference forgets to count the end of a gRPC client's connection.
    """
    counts = []
    if pair.pairing.server == OURS or pair.pairing.frontend != "grpc":
        counts.append(pair.server_metrics().get("server_established_connections", 0))
    if pair.agent.health_port:
        counts.append(pair.agent_metrics().get("agent_open_endpoint_connections", 0))
    return counts


async def settle_at(pair, count):
    await eventually(lambda: set(open_connections(pair)) == {count}, f"{pair.pairing} counts {count} connections")


async def dials(pair):
    """Hold many connections at once, then dial many more one after the other, and return the number of failures."""
    async with listening(targets.echo) as address, pair.connect() as tunnel:
        async with AsyncExitStack() as stack:
            for writer in await asyncio.gather(*(echo_once(tunnel, address) for _ in range(HELD))):
                stack.callback(writer.close)
            await settle_at(pair, HELD)
        await settle_at(pair, 0)
        numbers = iter(range(number_of_dials(pair.pairing)))
        failures = []

        async def dial_in_turn():
            for _ in numbers:
                try:
                    (await echo_once(tunnel, address)).close()
                except (OSError, EOFError) as error:
                    failures.append(repr(error))

        await asyncio.gather(*(dial_in_turn() for _ in range(UNDER_WAY)))
        await settle_at(pair, 0)
        assert pair.server_metrics()["server_pending_backend_dials"] == 0
    assert failures == []


@pytest.fixture(scope="module")
def outcomes(on_selected_pairs):
    """Run the dials through every selected pair, two pairs side by side."""
    return on_selected_pairs(dials, at_once=2)


@pytest.mark.parametrize("pairing", ALL, ids=str)
def test_a_pair_carries_200_connections_at_once_and_thousands_of_dials(outcomes, pairing):
    result(outcomes[pairing])

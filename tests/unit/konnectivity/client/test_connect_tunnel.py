"""Answers of a server to CONNECT: the text of a refusal is whole, however the network cuts it."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.client import connect_tunnel
from support.memory_server import advance, in_still_time

HEAD = b"HTTP/1.1 500 Internal Server Error\r\n\r\n"


async def answered(pieces, end):
    """Return the answer whose pieces arrive one after another, then an end, an error or nothing."""
    reader = asyncio.StreamReader()
    asked = asyncio.ensure_future(connect_tunnel._answer(reader))
    for piece in pieces:
        reader.feed_data(piece)
        await advance(0)
    if isinstance(end, Exception):
        reader.set_exception(end)
    elif end:
        reader.feed_eof()
    await advance(0)
    await advance(connect_tunnel.TEXT_TIMEOUT_S)
    await advance(0)
    assert asked.done()
    return asked.result()


@in_still_time
@pytest.mark.parametrize("end", [True, False, ConnectionResetError()], ids=["closed", "left open", "reset"])
async def test_a_refusal_that_arrives_in_pieces_is_read_to_its_end(end):
    assert await answered([HEAD[:9], HEAD[9:] + b"connection", b" ref", b"used"], end) == (500, "connection refused")


@in_still_time
async def test_of_an_endless_refusal_only_the_beginning_is_kept():
    status, text = await answered([HEAD, *[b"x" * 20_000] * 5], False)
    assert (status, len(text)) == (500, connect_tunnel.MAX_ANSWER)

"""Lists on the admin port: filter, order, limit, and output in slices."""

from __future__ import annotations

import asyncio
import json

import pytest

from konnectivity.http1.handlers import Request
from konnectivity_server.api import list_queries
from konnectivity_server.api.list_queries import ROWS, BadQuery, Query, choose, order, query_of, rows_of, written

KEYS = {"name": lambda item: item[0], "size": lambda item: item[1], "state": lambda item: item[2]}
ITEMS = [("b", 2, "ready"), ("a", None, "silent"), ("c", 30, "draining"), ("d", 4, "ready")]


def asked(query):
    return query_of(Request("GET", "/list", query), KEYS, "-size")


async def chosen(query):
    found = await choose(ITEMS, KEYS, asked(query), lambda item: f"{item[0]} {item[2]}")
    return "".join(item[0] for item in found.items), found.matching, found.total


async def test_the_order_is_the_one_asked_for():
    assert await chosen("") == ("cdba", 4, 4)
    assert await chosen("sort=size") == ("abdc", 4, 4)
    assert await chosen("sort=-name") == ("dcba", 4, 4)


async def test_a_state_that_is_as_it_should_be_comes_last():
    assert await chosen("sort=state") == ("cabd", 4, 4)


async def test_limit_and_match_are_told_apart():
    assert await chosen("limit=1&sort=name") == ("a", 4, 4)
    assert await chosen("match=READY") == ("db", 2, 4)
    assert await chosen("match=ready&limit=1") == ("d", 2, 4)
    assert await chosen("limit=0") == ("", 4, 4)
    assert await chosen("match=nowhere") == ("", 0, 4)


def test_what_the_answer_says_it_did():
    query = asked("limit=99999&sort=-name&match=X%20y")
    assert query == Query("name", True, list_queries.MAX_LIMIT, "x y")
    assert query.head(list_queries.Found([], 3, 7)) == {"total": 7, "matching": 3, "sort": "-name", "limit": 1000}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sort=colour", "sort: one of name, size, state, with a - before it"),
        ("sort=--name", "sort: one of"),
        ("limit=-1", "limit: a number from 0 to 1000"),
        ("limit=%D9%A3", "limit: a number"),
        ("limit=1e3", "limit: a number"),
        (f"limit={'9' * 5000}", "limit: a number"),
    ],
)
def test_what_makes_no_sense_is_told(query, says):
    with pytest.raises(BadQuery, match=r".") as caught:
        asked(query)
    assert says in str(caught.value)


async def test_a_long_list_lets_others_have_their_turns():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    numbers = [(f"{n % 977}", n, "ready") for n in range(20_000)]
    found = await choose(numbers, KEYS, Query("size", True, 1000, ""), lambda item: item[0])
    assert [item[1] for item in found.items] == list(range(19_999, 18_999, -1))
    assert turns >= 20_000 // list_queries.SLICE
    before = turns
    answer = await written({"total": 1}, "rows", found.items, lambda item: {"size": item[1]})
    assert turns - before >= 1000 // list_queries.ROWS
    task.cancel()
    assert json.loads(answer.body) == {"total": 1, "rows": [{"size": item[1]} for item in found.items]}


async def test_an_empty_list_is_one():
    assert json.loads((await written({}, "rows", [], dict)).body) == {"rows": []}
    assert json.loads((await written({"a": 1}, "rows", [], dict)).body) == {"a": 1, "rows": []}


def test_nothing_comes_before_something():
    assert order("agent", None) < order("agent", "")
    assert sorted([3, None, -1], key=lambda value: order("load", value)) == [None, -1, 3]


async def test_a_list_of_all_is_written_in_pieces():
    """5,000 agents in one piece would delay the tunnels for 60 ms and more."""
    passes = 0

    def count_pass():
        nonlocal passes
        passes += 1
        loop.call_soon(count_pass)

    loop = asyncio.get_running_loop()
    loop.call_soon(count_pass)
    rows = [json.loads(text) async for text in rows_of(range(10 * ROWS), lambda number: {"number": number})]
    assert [row["number"] for row in rows] == list(range(10 * ROWS))
    assert passes >= 9

"""List queries of the admin API: filter, order and limit.

Looks at a slice of the list at a time, so that other work has its turn in between. Does not know what is listed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from konnectivity.http1.handlers import Request, Response
from konnectivity.untrusted.numbers import parse_decimal

Item = TypeVar("Item")
Row = dict[str, Any]
Keys = Mapping[str, Callable[[Item], Any]]

SLICE = 500  # items that are looked through at a time: about a millisecond
ROWS = 100  # rows that are written at a time
DEFAULT_LIMIT = 200
MAX_LIMIT = 1000
LINE = ",\n"  # between two rows
AT_EASE = ("open", "ready", "passing")


class BadQuery(Exception):
    """Query that cannot be answered; `str()` is the reason, for the client."""


@dataclass(frozen=True, slots=True)
class Query:
    """Order, limit and filter of a list."""

    sort: str
    descending: bool
    limit: int
    match: str  # text to search for, in lower case; empty: all items

    def head(self, found: Found[Any]) -> dict[str, Any]:
        """Return the fields of an answer before its rows."""
        sort = f"-{self.sort}" if self.descending else self.sort
        return {"total": found.total, "matching": found.matching, "sort": sort, "limit": self.limit}


def query_of(request: Request, keys: Iterable[str], default: str) -> Query:
    """Return the query that `sort`, `limit` and `match` of a request ask for.

    Raises:
        BadQuery: `sort` is not one of the keys, or `limit` is not a number.

    """
    sort = request.value("sort", default)
    if sort.removeprefix("-") not in keys:
        raise BadQuery(f"sort: one of {', '.join(keys)}, with a - before it for the largest first")
    limit = number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
    return Query(sort.removeprefix("-"), sort.startswith("-"), limit, request.value("match").lower())


def number(request: Request, key: str, default: int, most: int) -> int:
    """Return a number of the query, at most `most`.

    Raises:
        BadQuery: the value is not a number.

    """
    asked = parse_decimal(request.value(key, str(default)), most=10**9)
    if asked is None:
        raise BadQuery(f"{key}: a number from 0 to {most}")
    return min(asked, most)


@dataclass(frozen=True, slots=True)
class Found(Generic[Item]):
    """Items found, the first in order; the number of items that match, and of all items."""

    items: list[Item]
    matching: int
    total: int


def order(key: str, value: Any) -> Any:
    """Return the sort key of a field: empty values first, and the states of a healthy item last."""
    if key == "state":
        return value in AT_EASE, value
    return (value is not None, value)


async def choose(items: Iterable[Item], keys: Keys[Item], query: Query, text: Callable[[Item], str]) -> Found[Item]:
    """Look through all items and return those that the query asks for.

    Args:
        items: all items.
        keys: functions that return the value of a sort key.
        query: order, limit and filter.
        text: returns the text in which the filter looks for its words.

    """
    key = keys[query.sort]
    found: list[tuple[Any, Item]] = []
    total = matching = 0
    rest = iter(items)
    while some := list(islice(rest, SLICE)):
        total += len(some)
        if query.match:
            some = [each for each in some if query.match in text(each).lower()]
        matching += len(some)
        found += [(order(query.sort, key(each)), each) for each in some]
        found.sort(key=_first, reverse=query.descending)
        del found[query.limit :]
        await asyncio.sleep(0)
    return Found([item for _, item in found], matching, total)


def _first(pair: tuple[Any, object]) -> Any:
    return pair[0]


async def written(head: Mapping[str, Any], name: str, items: Sequence[Item], row: Callable[[Item], Row]) -> Response:
    """Return a JSON object with the fields of `head`, and under `name` a row for each item."""
    rows = [text async for text in rows_of(items, row)]
    text = json.dumps({**head, name: []})
    return answer(f"{text[:-2]}{LINE.join(rows)}]}}\n".encode())


async def rows_of(items: Sequence[Item], row: Callable[[Item], Row]) -> AsyncIterator[str]:
    """Yield the JSON of each item's row, and let others have their turn after every `ROWS` of them."""
    for start in range(0, len(items), ROWS):
        for each in items[start : start + ROWS]:
            yield json.dumps(row(each))
        await asyncio.sleep(0)


def answer(body: bytes, status: int = 200) -> Response:
    """Return an answer of JSON that no cache may keep."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(status, headers, body)

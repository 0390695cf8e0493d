"""Merged list of tenants: the rows of several workers as one row for each tenant, in the order that a request asks for.

Numbers are added; the state is the worst of all workers, with its trouble. Pure. Does not know how a worker is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from konnectivity.http1.handlers import Request
from konnectivity_server.api.list_queries import query_of

PATH = "/api/v1/tenants"
BY_TROUBLE = ("refused", "outdated", "not ready", "ready")  # states, the worst first
COUNTS = ("agents", "connections", "dial_failures", "buffered_bytes", "limits_reached")

Row = dict[str, Any]


def all_rows(query: str) -> str:
    """Return the request target for every row of a worker: the list is filtered and cut when the rows are merged."""
    return f"{PATH}?{query}&all" if query else f"{PATH}?all"


def merged(values: Sequence[Any], request: Request) -> Any:
    """Return the list of tenants that a request asks for, merged from those of all workers.

    Raises:
        BadQuery: `sort` or `limit` has a value that is not allowed.

    """
    rows: dict[str, Row] = {}
    for row in (row for value in values for row in value["tenants"]):
        known = rows.get(row["name"])
        rows[row["name"]] = row if known is None else _joined(known, row)
    keys: dict[str, Callable[[Row], Any]] = {"state": _badness, "name": lambda row: row["name"]}
    query = query_of(request, [*keys, *COUNTS], "state")
    key = keys.get(query.sort, lambda row: row.get(query.sort, 0))
    found = [row for row in rows.values() if query.match in _text(row).lower()]
    found.sort(key=key, reverse=query.descending)
    sort = f"-{query.sort}" if query.descending else query.sort
    own = {"tenant": values[0]["tenant"]} if "tenant" in values[0] else {}  # the answer to the token of one tenant
    head = {"total": len(rows), "matching": len(found), "sort": sort, "limit": query.limit}
    return {**head, **own, "tenants": found[: query.limit]}


def _joined(one: Row, other: Row) -> Row:
    worse, better = sorted((one, other), key=_badness)
    numbers = {
        name: value + better[name]
        for name, value in worse.items()
        if isinstance(value, int) and isinstance(better.get(name), int)
    }
    return {**better, **worse, **numbers}


def _badness(row: Row) -> int:
    return BY_TROUBLE.index(row["state"]) if row["state"] in BY_TROUBLE else 0


def _text(row: Row) -> str:
    """Return the text in which a filter looks for its words."""
    return "\n".join((row["name"], *row.get("server_names", ()), row["state"], row["trouble"] or ""))

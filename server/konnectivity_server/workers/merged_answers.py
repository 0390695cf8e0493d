"""Merged answers: the answers of several workers as one answer of the server. Pure.

Metrics are amounts, whose sum is that of the server, except for those named below. Lists are joined. Does not know how
a worker is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from konnectivity_server.api.list_queries import order

LEAST = (
    "_expiry_timestamp_seconds",
    "process_start_time_seconds",
    "_data_plane_available",
)  # metrics of which the smallest value counts
MOST = (
    "_last_reload_timestamp_seconds",
    "_server_count",
    "_leases",
    "_build_info",
    "_server_tenants",
    "_tenants_refused_total",
)
SAME = ('scope="tunnel"}', 'scope="connection"}')  # budgets that are the same in every worker
TUNNEL_BUDGET = "tunnel_buffer_budget_bytes"  # budget of one agent, the same in every worker


def metrics(texts: Iterable[str]) -> str:
    """Return one exposition in Prometheus' text format, merged from those of all workers."""
    heads: dict[str, list[str]] = {}  # HELP and TYPE lines by family
    samples: dict[str, dict[str, float]] = {}  # samples by family, then by name and labels
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                heads.setdefault(family, [])
            if line.startswith("#"):
                if line not in heads[family]:
                    heads[family].append(line)
            else:
                name, _, value = line.rpartition(" ")
                known = samples.setdefault(family, {})
                known[name] = _joined(family, name, known[name], float(value)) if name in known else float(value)
    lines = []
    for family in sorted(heads):
        lines += heads[family]
        lines += [f"{name} {_number(value)}" for name, value in samples.get(family, {}).items()]
    return "".join(f"{line}\n" for line in lines)


def _joined(family: str, sample: str, one: float, other: float) -> float:
    if family.endswith(LEAST):
        return min(one, other)
    same = family.endswith("_buffer_budget_bytes") and sample.endswith(SAME)
    return max(one, other) if same or family.endswith(MOST) else one + other


def _number(value: float) -> str:
    return str(int(value)) if value == value and abs(value) < 2**63 and value == int(value) else repr(value)


def documents(values: Sequence[Any]) -> Any:
    """Return one JSON value, merged from those of all workers for the same path.

    Lists are joined, numbers are added; of other values the first one counts. Objects in a list get the number of their
    worker.
    """
    first = values[0]
    if all(isinstance(value, list) for value in values):
        return [
            {**each, "worker": index} if isinstance(each, dict) else each
            for index, value in enumerate(values)
            for each in value
        ]
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: documents([value[key] for value in values if key in value]) for key in keys}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return sum(values)
    return first


def listed(values: Sequence[Any], name: str) -> Any:
    """Return one object with a list under `name`, merged from ordered lists, in their order and with their limit."""
    sort, limit = values[0]["sort"], values[0]["limit"]
    key = sort.removeprefix("-")
    rows = [{**row, "worker": index} for index, value in enumerate(values) for row in value[name]]
    rows.sort(key=lambda row: order(key, row[key]), reverse=sort.startswith("-"))
    counts = {each: sum(value[each] for value in values) for each in ("total", "matching")}
    return {**values[0], **counts, name: rows[:limit]}


def overview(values: Sequence[Any], server_id: str) -> Any:
    """Return the overview of the server, merged from those of all workers."""
    first = values[0]
    troubles = [value["not_ready"] for value in values if value["not_ready"]]
    recent, gone = (
        sorted(documents(lists), key=lambda row: row["ago"])
        for lists in (
            [value["dial_failures"]["recent"] for value in values],
            [value["agents_gone"] for value in values],
        )
    )
    about = ("id", "uptime", "ready", "not_ready")
    return {
        **documents(values),
        "id": server_id,
        "uptime": max(value["uptime"] for value in values),
        "ready": not troubles,
        "not_ready": troubles[0] if troubles else None,
        "strategies": first["strategies"],
        "memory": {**documents([value["memory"] for value in values]), TUNNEL_BUDGET: first["memory"][TUNNEL_BUDGET]},
        "certificates": first["certificates"],
        "history": {**first["history"], "series": _added([value["history"]["series"] for value in values])},
        "dial_failures": {**documents([value["dial_failures"] for value in values]), "recent": recent},
        "agents_gone": gone,
        "workers": [{"worker": index} | {key: value[key] for key in about} for index, value in enumerate(values)],
    }


def conditions(values: Sequence[Any]) -> Any:
    """Return the conditions of the worker that is worst off: it gets a share of the dials, too."""
    order_of = {"False": 0, "Unknown": 1, "True": 2}
    return min(values, key=lambda value: order_of.get(value["conditions"][0]["status"], 1))


def _added(every: Sequence[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Return the sums of series that end at the same time."""
    found = {}
    for name in every[0]:
        backwards = [series[name][::-1] for series in every]
        found[name] = [sum(numbers) for numbers in zip_longest(*backwards, fillvalue=0)][::-1]
    return found


def readiness(answers: Sequence[tuple[int, str]], verbose: bool) -> tuple[int, str]:
    """Return the status and body of the server's readiness: ready if a worker runs and all that run are ready."""
    if not answers:
        return 500, "no worker runs\n"
    status = max(status for status, _ in answers)
    if verbose:
        return status, "".join(
            f"worker {index}: {line}\n" for index, (_, body) in enumerate(answers) for line in body.splitlines()
        )
    return next(answer for answer in answers if answer[0] == status)

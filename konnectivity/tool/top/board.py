"""Latest snapshot of every server, and what two snapshots of each show: rates, and servers that were lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from konnectivity.tool.top.snapshots import Snapshot

Row = dict[str, Any]

SORTS = ("stalled", "rate", "age", "bytes", "buffered")
SERVER_SORTS = {  # sort orders in requests for connections, by column
    "stalled": "-stalled_for",
    "rate": "-bytes_from_destination",
    "age": "-age",
    "bytes": "-bytes_from_destination",
    "buffered": "-buffered_bytes",
}
_TOTALS = {
    "dials_per_s": "dials",
    "failures_per_s": "dial_failures",
    "to_destination_per_s": "bytes_to_destination",
    "from_destination_per_s": "bytes_from_destination",
}
_LEFT = ("ago", "connections", "reason")
_SIDES = ("bytes_to_destination", "bytes_from_destination")


class Board:
    """Store of snapshots that returns rows of plain values, for a table or JSON."""

    def __init__(self) -> None:
        self._now: dict[str, Snapshot] = {}  # the last answer of each server
        self._before: dict[str, Snapshot] = {}  # snapshot before the last one, by server
        self._error: dict[str, str] = {}
        self._lost_at: dict[str, float] = {}
        self._order: list[str] = []

    def take(self, snapshots: Iterable[Snapshot]) -> None:
        for each in snapshots:
            if each.address not in self._order:
                self._order.append(each.address)
            if each.error:
                self._error[each.address] = each.error
                self._lost_at.setdefault(each.address, each.at)
                continue
            self._error.pop(each.address, None)
            self._lost_at.pop(each.address, None)
            if each.address in self._now:
                self._before[each.address] = self._now[each.address]
            self._now[each.address] = each

    @property
    def lost(self) -> list[str]:
        return [address for address in self._order if address in self._error]

    @property
    def known(self) -> int:
        return len(self._order)

    def servers(self, now: float) -> list[Row]:
        return [self._server(address, now) for address in self._order]

    def agents(self) -> list[Row]:
        """Return the agents of the servers that answer, those that need attention first."""
        rows = [
            {"server": self._name(address), **_chosen(each)}
            for address, snapshot in self._answering()
            for each in snapshot.agents
        ]
        return sorted(rows, key=lambda row: (row["state"] == "ready", -row["connections"], row["agent"]))

    def connections(self, sort: str) -> list[Row]:
        rows = [row for address, snapshot in self._answering() for row in self._connections(address, snapshot)]
        keys = {
            "stalled": lambda row: (row["stalled_for"] or 0.0, row["rate"]),
            "rate": lambda row: row["rate"],
            "age": lambda row: row["age"],
            "bytes": lambda row: row["bytes_to_destination"] + row["bytes_from_destination"],
            "buffered": lambda row: row["buffered_bytes"],
        }
        return sorted(rows, key=keys[sort], reverse=True)

    def failures(self) -> list[Row]:
        """Return recent failed dials, the latest first."""
        names = ("ago", "reason", "destination", "agent", "text", "count")
        rows = [
            {"server": self._name(address), **{name: each.get(name) for name in names}}
            for address, snapshot in self._answering()
            for each in snapshot.overview.get("dial_failures", {}).get("recent", ())
        ]
        return sorted(rows, key=lambda row: row["ago"])

    def paths(self) -> list[Row]:
        """Return the paths that do not pass, failing ones first and among them the latest."""
        names = ("state", "layer", "reason", "target", "text", "since")
        rows = [
            {"server": self._name(address), "agent": each.get("agent"), "probe": probe}
            | {name: path.get(name) for name in names}
            for address, snapshot in self._answering()
            for each in snapshot.paths
            for probe, path in each.get("paths", {}).items()
            if path.get("state") in ("failing", "suspect")
        ]
        return sorted(rows, key=lambda row: (row["state"] != "failing", row["since"], row["agent"]))

    def departures(self) -> list[Row]:
        """Return the agents that left and did not come back, the latest first."""
        rows = [
            {"server": self._name(address), "agent": each.get("id"), **{name: each.get(name) for name in _LEFT}}
            for address, snapshot in self._answering()
            for each in snapshot.overview.get("agents_gone", ())
        ]
        return sorted(rows, key=lambda row: row["ago"])

    def _answering(self) -> list[tuple[str, Snapshot]]:
        return [(each, self._now[each]) for each in self._order if each in self._now and each not in self._error]

    def _name(self, address: str) -> str:
        snapshot = self._now.get(address)
        server_id = snapshot.overview.get("id") if snapshot is not None else None
        return str(server_id or address)

    def _server(self, address: str, now: float) -> Row:
        row: Row = {"server": self._name(address), "address": address, "state": "ready", "why": None}
        if address in self._error:
            return row | {"state": "lost", "why": self._error[address], "lost_for": now - self._lost_at[address]}
        snapshot = self._now[address]
        overview = snapshot.overview
        if not overview.get("ready"):
            row |= {"state": "not ready", "why": overview.get("not_ready")}
        connections = overview.get("connections", {})
        stalled = sum(connections.get(f"stalled_by_{side}", 0) for side in ("client", "destination"))
        row |= {
            "agents": overview.get("agents", {}).get("streams", 0),
            "connections": connections.get("open", 0) + connections.get("through_servers", 0),
            "pending_dials": connections.get("pending_dials", 0),
            "stalled": stalled,
            **self._rates(address, snapshot),
            "buffered_bytes": overview.get("memory", {}).get("buffered_bytes", 0),
            "resident_bytes": overview.get("memory", {}).get("resident_bytes", 0),
            "uptime": overview.get("uptime", 0.0),
            "history": _history(overview),
        }
        return row

    def _rates(self, address: str, snapshot: Snapshot) -> dict[str, float]:
        before = self._before.get(address)
        totals = snapshot.overview.get("totals", {})
        then = before.overview.get("totals", {}) if before is not None else {}
        seconds = snapshot.at - before.at if before is not None else 0.0
        return {rate: _rate(totals.get(name), then.get(name), seconds) for rate, name in _TOTALS.items()}

    def _connections(self, address: str, snapshot: Snapshot) -> list[Row]:
        before = self._before.get(address)
        seconds = snapshot.at - before.at if before is not None else 0.0
        then = {_key(each): each for each in before.connections} if before is not None else {}
        rows = []
        for each in snapshot.connections:
            old = then.get(_key(each), {})
            to, back = (_rate(each.get(side), old.get(side), seconds) for side in _SIDES)
            row = {"server": self._name(address), "through": each.get("agent") or f"server {each.get('server')}"}
            row |= {name: each.get(name) for name in ("destination", "origin", "age", *_SIDES, "buffered_bytes")}
            row |= {name: each.get(name) for name in ("state", "stalled_side", "stalled_for")}
            rows.append(row | {"to_per_s": to, "from_per_s": back, "rate": to + back})
        return rows


def _chosen(agent: Mapping[str, Any]) -> Row:
    names = ("state", "round_trip", "dial_latency", "connections", "pending_dials", "buffered_bytes", "connected_for")
    return {"agent": str(agent.get("id", "")), **{name: agent.get(name) for name in names}}


def _key(connection: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(connection.get(name) for name in ("worker", "agent", "server", "id"))


def _rate(now: float | None, before: float | None, seconds: float) -> float:
    """Return a counter's rate per second; 0 if it is unknown or the counter was reset."""
    if now is None or before is None or seconds <= 0 or now < before:
        return 0.0
    return round((now - before) / seconds, 1)


def _history(overview: Mapping[str, Any]) -> list[float]:
    """Return bytes per second in both directions, the newest last."""
    series: Mapping[str, Sequence[float]] = overview.get("history", {}).get("series", {})
    return [to + back for to, back in zip(*(series.get(side, ()) for side in _SIDES), strict=False)]

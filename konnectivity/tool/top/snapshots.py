"""Requests to the admin ports of all servers at the same time. Draws no conclusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from konnectivity.tool import admin_client
from konnectivity.tool.admin_client import AdminClient

HISTORY = 60
MOST_AGENTS = 1000
MOST_PATHS = 100  # agents


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Report of one server at one time. With an `error` the other fields are empty."""

    address: str
    at: float
    error: str = ""
    overview: Mapping[str, Any] = field(default_factory=dict)
    agents: Sequence[Mapping[str, Any]] = ()
    connections: Sequence[Mapping[str, Any]] = ()
    paths: Sequence[Mapping[str, Any]] = ()  # agents whose paths are in the worst states


class Collector:
    """Client that asks the same servers repeatedly. Owns its threads.

    Args:
        addresses: "host:port" of each server.
        client: client of their admin ports.

    """

    def __init__(self, addresses: Iterable[str], client: AdminClient) -> None:
        self._addresses = list(addresses)
        self._client = client
        self._threads = ThreadPoolExecutor(max_workers=len(self._addresses), thread_name_prefix="top")

    def ask(self, connections: int, sort: str) -> list[Snapshot]:
        """Return one snapshot of each server, within a few times the timeout.

        Args:
            connections: number of connections to fetch from each server, the first ones by `sort`.
            sort: key of the list of connections.

        """
        return list(self._threads.map(lambda each: self._one(each, connections, sort), self._addresses))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, address: str, connections: int, sort: str) -> Snapshot:
        at = monotonic()
        try:
            overview = self._object(address, f"/api/v1/overview?history={HISTORY}")
            agents = self._object(address, f"/api/v1/agents?limit={MOST_AGENTS}")
            listed = self._object(address, f"/api/v1/connections?limit={connections}&sort={sort}")
            paths = self._object(address, f"/api/v1/paths?limit={MOST_PATHS}") if "paths" in overview else {}
        except admin_client.AdminError as error:
            return Snapshot(address, at, str(error))
        found = (agents.get("agents", ()), listed.get("connections", ()), paths.get("paths", ()))
        return Snapshot(address, at, "", overview, *found)

    def _object(self, address: str, path: str) -> Mapping[str, Any]:
        answer = self._client.get(address, path)
        found = admin_client.parse(answer, address)
        if answer.status != 200 or not isinstance(found, dict):
            raise admin_client.AdminError(f"{address} answers {path} with status {answer.status}")
        return found

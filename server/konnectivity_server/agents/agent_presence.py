"""Presence of agents by id: the streams that each has, two agents with one id, and agents that left. Pure.

Owns the number of streams of each id and credential, and the record of departures. Does not know the streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from konnectivity_server.recent_problems import RecentProblems


class AgentPresence:
    """Agents that are connected, and agents that left and did not return.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.conflicts = 0  # agents that came with the id of another one
        self._streams: dict[str, dict[str, int]] = {}  # number of streams by agent id, then by holder of the credential
        self._left = RecentProblems(("id",), clock)

    def knows(self, agent_id: str, holder: str) -> bool:
        """Return whether an agent with this id and this credential is connected."""
        return holder in self._streams.get(agent_id, ())

    def add(self, agent_id: str, holder: str) -> str | None:
        """Add a stream, and return the holder of another credential that has the same id, or None.

        Args:
            agent_id: id that the agent gave.
            holder: holder of the agent's credential.

        """
        streams = self._streams.setdefault(agent_id, {})
        other = None
        if streams and holder not in streams:
            self.conflicts += 1
            other = next(iter(streams))
        streams[holder] = streams.get(holder, 0) + 1
        return other

    def remove(self, agent_id: str, holder: str, **details: Any) -> None:
        """Remove a stream; if it was the agent's last one, record the departure with its details."""
        streams = self._streams[agent_id]
        streams[holder] -= 1
        if not streams[holder]:
            del streams[holder]
        if not streams:
            del self._streams[agent_id]
            self._left.add(agent_id, **details)

    def departures(self) -> list[dict[str, Any]]:
        """Return the agents that left and did not return, the latest first."""
        return [each for each in self._left.listed() if each["id"] not in self._streams]

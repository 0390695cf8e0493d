"""Condition of the data plane, in the form of Kubernetes: whether the nodes can be reached, and why not. Pure.

Owns the time of the last transition. The clock of the wall is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from konnectivity_server.probes import path_record
from konnectivity_server.probes.path_record import PathRecord

TYPE = "DataPlaneConnectionAvailable"
TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
NO_AGENT = "no agent is connected"
NOT_YET = "no probe of a path has a result yet"
NO_PATH = "no agent passes its probes"


class DataPlane:
    """Condition that says whether at least one agent reaches the targets of all its probes.

    Args:
        wall_clock: seconds since 1970.

    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self.status = UNKNOWN
        self._reason = "NotProbedYet"
        self._message = NOT_YET
        self._since = wall_clock()

    def judge(self, agents: Iterable[Iterable[PathRecord]]) -> bool:
        """Take the records of all paths, agent by agent; return whether the status changed."""
        total = reached = 0
        states: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for records in agents:
            total += 1
            probed = [each for each in records if each.state != path_record.SKIPPED]
            reached += bool(probed) and all(each.usable for each in probed)
            for each in probed:
                states[each.state] += 1
                if each.state == path_record.FAILING and each.fault is not None:
                    causes[each.fault.reason] += 1
        status, self._reason, self._message = _verdict(total, reached, states, causes)
        changed = status != self.status
        if changed:
            self.status, self._since = status, self._wall_clock()
        return changed

    def trouble(self) -> str | None:
        """Return why the nodes cannot be reached, or None."""
        return None if self.status == TRUE else self._message

    def condition(self) -> dict[str, Any]:
        """Return the condition as JSON fields, as in the status of a Kubernetes object."""
        return {
            "type": TYPE,
            "status": self.status,
            "reason": self._reason,
            "message": self._message,
            "lastTransitionTime": datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _verdict(total: int, reached: int, states: Counter[str], causes: Counter[str]) -> tuple[str, str, str]:
    failing, paths = states[path_record.FAILING], sum(states.values())
    if not total:
        return FALSE, "NoAgents", NO_AGENT
    if reached:
        if not failing:
            return TRUE, "PathsPass", f"{reached} of {total} agents pass their probes"
        return TRUE, "SomePathsFail", f"{failing} of {paths} paths fail: {_listed(causes)}"
    if failing:
        return FALSE, "PathsFail", f"{NO_PATH}: {_listed(causes)}"
    if not paths:
        return UNKNOWN, "NothingToProbe", "no connected agent has the identifiers that the probes need"
    return UNKNOWN, "NotProbedYet", NOT_YET


def _listed(causes: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in causes.most_common())

"""Kubernetes Events on Nodes about their paths: one when a path fails, and one when it passes again.

Owns the events that wait to be written: the newest of each path, in order, few at a time. Does not know why a path
fails.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from konnectivity.kube.api_error import KubeError
from konnectivity.runtime import logs
from konnectivity.untrusted.untrusted_text import visible
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.probes import path_record
from konnectivity_server.probes.path_record import PathRecord
from konnectivity_server.probes.probe_classes import ProbeClass

log = logs.get(__name__)

NAMESPACE = "default"  # of events about objects that are in no namespace
FAILS, PASSES = "KonnectivityPathFails", "KonnectivityPathPasses"
PAUSE_S = 1.0  # between two events: token reviews share the rate of requests
MOST_WAITING = 1000
MAX_MESSAGE = 1024  # characters; the limit of the API
_NODE = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class EventWriter(Protocol):
    """Client of the Kubernetes API that creates Events."""

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Create an Event.

        Raises:
            KubeError: the API cannot be reached, or refuses the Event.

        """


class PathEvent(NamedTuple):
    """Event about a path that waits to be written."""

    node: str
    fails: bool
    message: str
    at: float  # seconds since 1970


class NodeEvents:
    """Writer of Events about paths.

    Args:
        writer: client of the Kubernetes API.
        server_id: id of this server, named in the Events.
        wall_clock: seconds since 1970.

    """

    def __init__(self, writer: EventWriter, server_id: str, wall_clock: Callable[[], float]) -> None:
        self._writer = writer
        self._server_id = server_id
        self._wall_clock = wall_clock
        self._waiting: dict[tuple[str, str], PathEvent] = {}  # by agent and class of probes
        self._failing: set[tuple[str, str]] = set()  # paths whose last event is that they fail
        self._arrived = asyncio.Event()
        self._trouble = ""

    def path_changed(self, agent: AgentTunnel, probe: ProbeClass, record: PathRecord) -> None:
        """Let an Event wait about a path that fails, or passes again after it failed."""
        key, fails = (agent.agent_id, probe.name), record.state == path_record.FAILING
        node = node_of(agent)
        if not node or fails == (key in self._failing) or len(self._waiting) >= MOST_WAITING:
            return
        if fails:
            self._failing.add(key)
        else:
            self._failing.discard(key)
        reason = f"{record.fault.layer}: {record.fault.text}" if record.fault is not None else "reachable again"
        text = visible(f"{record.target} (probe {probe.name}): {reason}", MAX_MESSAGE - 1)
        self._waiting[key] = PathEvent(node, fails, text, self._wall_clock())
        self._arrived.set()

    async def run(self) -> None:
        """Write the waiting Events, one after the other, for as long as the server runs."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                event = self._waiting.pop(next(iter(self._waiting)))
                await self._write(event)
                await asyncio.sleep(PAUSE_S)
            self._arrived.clear()
            self._failing = set(list(self._failing)[-MOST_WAITING:])

    async def _write(self, event: PathEvent) -> None:
        try:
            await self._writer.create_event(NAMESPACE, event_object(event, self._server_id))
        except KubeError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("Cannot record an Event about a node", node=event.node, reason=self._trouble)
        else:
            self._trouble = ""


def node_of(agent: AgentTunnel) -> str:
    """Return the name of an agent's node: its first `host` identifier, else its id; empty if that is no node's name."""
    name = agent.identifiers.host[0] if agent.identifiers.host else agent.agent_id
    return name if _NODE.fullmatch(name) else ""


def event_object(event: PathEvent, server_id: str) -> dict[str, Any]:
    """Return the Event as the API takes it."""
    at = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{event.node[:200]}.", "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": event.node, "uid": event.node},
        "reason": FAILS if event.fails else PASSES,
        "message": event.message,
        "type": "Warning" if event.fails else "Normal",
        "source": {"component": "konnectivity-server", "host": server_id},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }

"""Tests of Events about paths, on a loop whose clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from konnectivity.kube.api_error import KubeError
from konnectivity_server.agents.agent_identifiers import Identifiers
from konnectivity_server.probes.node_events import MAX_MESSAGE, NodeEvents
from konnectivity_server.probes.path_faults import REFUSED, fault
from konnectivity_server.probes.path_record import PathRecord
from konnectivity_server.probes.probe_classes import parse_class
from support.memory_server import MemoryServer

KUBELET = parse_class("kubelet={ipv4}:10250")


class Written:
    """Kubernetes API that keeps the Events, or refuses them while it has an error."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.error = ""

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        assert namespace == "default"
        if self.error:
            raise KubeError(self.error)
        self.events.append(event)


def record(fails: bool, text: str = "connection refused") -> PathRecord:
    found = PathRecord("10.0.0.7:10250", 0.0, "failing" if fails else "passing")
    found.fault = fault(REFUSED, text) if fails else None
    return found


async def written(*changes: tuple[str, bool], error: str = "", text: str = "no") -> list[Mapping[str, Any]]:
    """Return the Events after changes of paths, each by the id of its agent and whether the path fails."""
    api, server = Written(), MemoryServer()
    api.error = error
    events = NodeEvents(api, "server-1", lambda: 86_400.0)
    task = asyncio.create_task(events.run())
    for agent_id, fails in changes:
        events.path_changed(server.agent(agent_id).tunnel, KUBELET, record(fails, text))
        await asyncio.sleep(10)
    task.cancel()
    return api.events


async def test_a_fault_and_its_end_are_events_on_the_node() -> None:
    fails, passes = await written(("node-1", False), ("node-1", True), ("node-1", True), ("node-1", False))
    assert fails == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "node-1.", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "node-1"},
        "reason": "KonnectivityPathFails",
        "message": "10.0.0.7:10250 (probe kubelet): tcp: no",
        "type": "Warning",
        "source": {"component": "konnectivity-server", "host": "server-1"},
        "firstTimestamp": "1970-01-02T00:00:00Z",
        "lastTimestamp": "1970-01-02T00:00:00Z",
        "count": 1,
    }
    assert (passes["reason"], passes["type"]) == ("KonnectivityPathPasses", "Normal")


@pytest.mark.parametrize("agent_id", ["Node_1", "a/b", "..", "x" * 254])
async def test_an_agent_whose_name_is_no_node_s_has_none(agent_id: str) -> None:
    assert await written((agent_id, True)) == []


async def test_the_node_is_the_host_that_the_agent_claims() -> None:
    api, server = Written(), MemoryServer()
    events = NodeEvents(api, "server-1", lambda: 0.0)
    agent = server.agent("a").tunnel
    agent.identifiers = Identifiers(host=("node-7.example",))
    events.path_changed(agent, KUBELET, record(True))
    task = asyncio.create_task(events.run())
    await asyncio.sleep(2)
    task.cancel()
    assert api.events[0]["involvedObject"]["name"] == "node-7.example"


async def test_a_text_of_a_target_is_cut_and_has_no_line_ends() -> None:
    (event,) = await written(("node-1", True), text="x\n" * 10_000)
    assert len(event["message"]) <= MAX_MESSAGE
    assert event["message"].isprintable()


async def test_an_api_that_refuses_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    assert await written(("a", True), ("b", True), ("c", True), error="403 Forbidden") == []
    assert [each.message for each in caplog.records].count("Cannot record an Event about a node") == 1


async def test_events_of_many_paths_are_written_one_a_second() -> None:
    api, server = Written(), MemoryServer()
    events = NodeEvents(api, "server-1", lambda: 0.0)
    for number in range(30):
        events.path_changed(server.agent(f"node-{number}").tunnel, KUBELET, record(True))
    task = asyncio.create_task(events.run())
    await asyncio.sleep(10.5)
    assert 10 <= len(api.events) <= 11
    await asyncio.sleep(30)
    assert len(api.events) == 30
    task.cancel()

"""Tests of the findings of a watch over servers, and of their changes."""

from __future__ import annotations

from typing import Any

from konnectivity.tool.doctor.path_watch import ServerAnswer, changes, findings

HEALTHY: dict[str, Any] = {"id": "s", "agents": {"streams": 2}, "paths": {}}


def path(state: str, reason: str | None = None, layer: str | None = None) -> dict[str, Any]:
    return {"state": state, "reason": reason, "layer": layer, "target": "a:1", "text": "why"}


def answer(address: str = "a:1", overview: dict[str, Any] = HEALTHY, **paths: dict[str, Any]) -> ServerAnswer:
    return ServerAnswer(address, "", overview, (), [{"agent": "node-1", "paths": paths}])


def test_a_path_that_fails_has_its_layer_and_advice() -> None:
    (found,) = findings([answer(kubelet=path("failing", "refused", "tcp"), dns=path("passing"))]).values()
    assert (found.status, found.layer, found.where) == ("failed", "tcp", "a:1 node-1 kubelet")
    assert found.what == "a:1: why"
    assert found.do


def test_a_server_without_agents_stands_out_among_others() -> None:
    empty = ServerAnswer("b:1", "", {"id": "t", "agents": {"streams": 0}, "paths": {}})
    found = findings([answer(), empty])[("b:1",)]
    assert (found.layer, found.what) == ("server", "server t has no agents, another server has 2")


def test_a_server_that_does_not_answer_is_one_finding() -> None:
    (found,) = findings([ServerAnswer("a:1", "cannot ask a:1: connection refused")]).values()
    assert (found.status, found.layer) == ("failed", "server")


def test_a_server_without_probes_is_named_and_its_silent_agents_are_found() -> None:
    overview = {"id": "s", "agents": {"streams": 1}}
    found = findings([ServerAnswer("a:1", "", overview, [{"id": "node-1", "state": "silent"}])])
    assert {(each.status, each.layer) for each in found.values()} == {("skipped", "probes"), ("failed", "agent")}


def test_only_changes_are_told_and_an_end_as_well() -> None:
    suspect = findings([answer(kubelet=path("suspect", "refused", "tcp"))])
    failing = findings([answer(kubelet=path("failing", "refused", "tcp"))])
    assert [each.status for each in changes({}, suspect)] == ["suspect"]
    assert [each.status for each in changes(suspect, failing)] == ["failed"]
    assert changes(failing, failing) == []
    (over,) = changes(failing, findings([answer(kubelet=path("passing"))]))
    assert (over.status, over.layer, over.where) == ("ok", "tcp", "a:1 node-1 kubelet")

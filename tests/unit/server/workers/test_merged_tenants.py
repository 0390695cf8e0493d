"""Merged list of tenants: one row for each, with the sums and the worst state of all workers."""

from __future__ import annotations

import pytest

from konnectivity.http1.handlers import Request
from konnectivity_server.api.list_queries import BadQuery
from konnectivity_server.workers import merged_tenants


def row(name, state="ready", trouble=None, **counts):
    return {"name": name, "state": state, "trouble": trouble, "server_names": [f"{name}.example"], **counts}


WORKERS = [
    {"tenants": [row("a", agents=2, dials=5), row("b", "ready", agents=1), row("c", agents=0)]},
    {"tenants": [row("a", agents=3, dials=1), row("b", "outdated", "no such file", agents=7), row("d", agents=9)]},
]


def merged(query=""):
    return merged_tenants.merged(WORKERS, Request("GET", "/api/v1/tenants", query, {}, 0.0))


def test_numbers_are_added_and_the_worst_state_has_its_trouble():
    found = {each["name"]: each for each in merged()["tenants"]}
    assert (found["a"]["agents"], found["a"]["dials"], found["a"]["state"]) == (5, 6, "ready")
    assert (found["b"]["agents"], found["b"]["state"], found["b"]["trouble"]) == (8, "outdated", "no such file")
    assert (found["c"]["agents"], found["d"]["agents"]) == (0, 9)


def test_a_tenant_that_one_worker_refuses_keeps_the_numbers_of_the_others():
    refused = {"tenants": [{"name": "a", "state": "refused", "trouble": "no CA"}]}
    request = Request("GET", "/api/v1/tenants", "", {}, 0.0)
    (found,) = merged_tenants.merged([{"tenants": [row("a", agents=2)]}, refused], request)["tenants"]
    assert (found["state"], found["trouble"], found["agents"]) == ("refused", "no CA", 2)


def test_the_merged_rows_are_filtered_ordered_and_cut():
    assert next(each["name"] for each in merged()["tenants"]) == "b", "those in trouble first"
    found = merged("sort=-agents&limit=2")
    assert [each["name"] for each in found["tenants"]] == ["d", "b"]
    assert (found["total"], found["matching"], found["sort"], found["limit"]) == (4, 4, "-agents", 2)
    assert [each["name"] for each in merged("match=NO%20SUCH")["tenants"]] == ["b"]
    assert [each["name"] for each in merged("match=d.example&sort=name")["tenants"]] == ["d"]
    with pytest.raises(BadQuery, match="sort: one of state, name, agents"):
        merged("sort=colour")

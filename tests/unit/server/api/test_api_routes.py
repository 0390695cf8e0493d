"""Admin API of a server in memory: agents, connections, the route of a dial, and the overview."""

from __future__ import annotations

import asyncio
import json

import pytest

from konnectivity.http1.handlers import Request
from konnectivity_server.api import api_routes
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.api.stalls import STALLED_S
from support.memory_server import MemoryServer
from support.memory_view import view_of


class Site:
    """Server in memory, and its API."""

    def __init__(self, tasks):
        self.server = MemoryServer()
        self.view = view_of(self.server)
        self.routes = api_routes.routes(self.view, SharedAnswers(tasks, 0.0))

    async def get(self, path, query="", status=200):
        found = self.routes[f"/api/v1/{path}"](Request("GET", f"/api/v1/{path}", query, {}, 0.0))
        response = await found if isinstance(found, asyncio.Future) else found
        assert response.status == status
        return json.loads(response.body)

    def connect(self, agent, destination="10.0.0.1:10250"):
        """Open a connection through an agent."""
        self.server.dial(destination)
        return agent.connects()


@pytest.fixture
async def site():
    async with asyncio.TaskGroup() as tasks:
        yield Site(tasks)


# ---- agents ---------------------------------------------------------------------------------------------------------


async def test_the_list_of_agents_has_their_state_and_ages(site):
    site.server.agent("node-1")
    await asyncio.sleep(10.0)
    (row,) = await site.get("agents")
    assert (row["id"], row["peer"], row["state"], row["connected_for"]) == ("node-1", "node-1.test:1", "ready", 10.0)
    assert (row["connections"], row["pending_dials"], row["extension"]) == (0, 0, True)


async def test_agents_are_chosen_by_order_limit_and_match(site):
    for name in ("node-2", "node-1", "other"):
        site.server.agent(name)
    found = await site.get("agents", "sort=-id&limit=1&match=node")
    assert (found["total"], found["matching"], found["sort"]) == (3, 2, "-id")
    assert [row["id"] for row in found["agents"]] == ["node-2"]


@pytest.mark.parametrize("query", ["sort=colour", "limit=many"])
async def test_a_query_that_cannot_be_answered_is_an_error(site, query):
    assert "error" in await site.get("agents", query, 400)
    assert "error" in await site.get("connections", query, 400)


async def test_a_draining_agent_says_so(site):
    agent = site.server.agent("node-1")
    agent.end.send_drain()
    agent.stream.other.deliver()
    assert [row["state"] for row in await site.get("agents")] == ["draining"]


# ---- connections ----------------------------------------------------------------------------------------------------


async def test_the_list_of_connections_has_destinations_and_amounts(site):
    agent = site.server.agent("node-1")
    site.connect(agent, "10.0.0.1:10250")
    await asyncio.sleep(3.0)
    found = await site.get("connections")
    assert found["total"] == 1
    (row,) = found["connections"]
    assert (row["agent"], row["destination"], row["state"], row["age"]) == ("node-1", "10.0.0.1:10250", "open", 3.0)
    assert (row["server"], row["stalled_side"], row["bytes_to_destination"]) == (None, None, 0)


async def test_a_connection_whose_destination_takes_nothing_is_stalled(site):
    agent = site.server.agent("node-1")
    site.connect(agent)
    site.view.sampler.start()
    (connection,) = agent.tunnel.connections.values()
    connection.outbound.send(bytes(connection.outbound.credit))
    await asyncio.sleep(STALLED_S + 2.0)
    (row,) = (await site.get("connections", "match=stalled"))["connections"]
    assert (row["state"], row["stalled_side"]) == ("stalled", "destination")
    assert row["stalled_for"] >= STALLED_S
    assert (await site.get("overview"))["connections"]["stalled_by_destination"] == 1
    site.view.sampler.stop()


# ---- the route of a dial --------------------------------------------------------------------------------------------


async def test_the_route_of_a_dial_names_the_agents_and_the_strategy(site):
    site.server.agents(2)
    found = await site.get("route", "destination=10.0.0.1:10250")
    assert (found["host"], found["decided_by"]) == ("10.0.0.1", "default")
    assert {row["id"] for row in found["strategies"][0]["listed"]} == {"agent-0", "agent-1"}


async def test_a_dial_without_an_agent_is_refused(site):
    found = await site.get("route", "destination=10.0.0.1:10250")
    assert found["decided_by"] is None
    assert found["verdict"] == "no agent: the dial is refused with 'No agent available'"
    assert "error" in await site.get("route", "", 400)


# ---- overview -------------------------------------------------------------------------------------------------------


async def test_the_overview_counts_agents_connections_and_dials(site):
    before = await site.get("overview")
    assert (before["id"], before["ready"], before["not_ready"]) == (
        "server-1",
        False,
        "no connection to any proxy agent",
    )
    agent = site.server.agent("node-1")
    site.connect(agent)
    site.server.dial("10.0.0.2:10250")
    await asyncio.sleep(5.0)
    found = await site.get("overview")
    assert (found["ready"], found["uptime"]) == (True, 5.0)
    assert (found["agents"]["streams"], found["agents"]["ready"]) == (1, 1)
    assert (found["connections"]["open"], found["connections"]["pending_dials"]) == (1, 1)
    assert found["totals"]["dials"] == 1


async def test_the_overview_names_failed_dials_and_agents_that_left(site):
    agent = site.server.agent("node-1")
    site.server.dial("10.0.0.3:1")
    agent.fails("connection refused")
    agent.leaves()
    found = await site.get("overview")
    assert [row["destination"] for row in found["dial_failures"]["recent"]] == ["10.0.0.3:1"]
    assert [row["id"] for row in found["agents_gone"]] == ["node-1"]


async def test_the_overview_has_as_many_samples_as_asked_for(site):
    site.view.sampler.start()
    await asyncio.sleep(20.5)
    assert len((await site.get("overview", "history=5"))["history"]["series"]["dials"]) == 5
    assert "error" in await site.get("overview", "history=all", 400)
    site.view.sampler.stop()

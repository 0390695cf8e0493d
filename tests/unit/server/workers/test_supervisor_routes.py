"""Routes of a supervisor: the workers that are asked, and the merging of their answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest

from konnectivity.http1.handlers import Request, Response
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.workers.supervisor_routes import HEALTH_PATHS, SupervisorRoutes


@dataclass
class Workers:
    count: int = 2
    restarts: int = 3
    running: list[int] = field(default_factory=lambda: [0, 1])


class Site:
    """Routes of both ports, and workers whose answers the test gives."""

    def __init__(self, tasks):
        self.workers = Workers()
        self.asked = []
        self.headers = []
        self.answers = {}
        self.health, self.admin = (
            SupervisorRoutes(self.workers, self._ask, "server-1", SharedAnswers(tasks, 0.0), Counter(), admin)
            for admin in (False, True)
        )

    async def _ask(self, number, target, headers):
        self.asked.append((number, target))
        self.headers.append(headers)
        return self.answers.get(number)

    async def get(self, path, query="", admin=True, token=None):
        routes = self.admin if admin else self.health
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return await routes[path](Request("GET", path, query, headers, 0.0, "10.0.0.9"))


@pytest.fixture
async def site():
    async with asyncio.TaskGroup() as tasks:
        yield Site(tasks)


def answer(body, status=200):
    return Response(status, {"Content-Type": "application/json"}, body.encode())


def document(**fields):
    return answer(json.dumps(fields))


async def test_the_health_port_has_its_paths_only(site):
    assert list(site.health) == list(HEALTH_PATHS)
    for path in ("/api/v1/overview", "/debug/pprof/"):
        with pytest.raises(KeyError):
            site.health[path]
    with pytest.raises(KeyError):
        site.admin["/readyz"]


async def test_the_supervisor_is_alive_without_workers(site):
    site.workers.running = []
    assert site.health["/healthz"](Request("GET", "/healthz", "")).status == 200


async def test_the_server_is_ready_if_all_workers_are(site):
    site.answers = {0: answer("ok"), 1: answer("ok")}
    assert (await site.get("/readyz", admin=False)).status == 200
    site.answers[1] = answer("no proxy agent answers", 500)
    found = await site.get("/readyz", admin=False)
    assert (found.status, found.body) == (500, b"no proxy agent answers")


async def test_a_server_without_workers_is_not_ready(site):
    site.workers.running = []
    assert (await site.get("/readyz", admin=False)).status == 500


async def test_metrics_are_added_up_beside_those_of_the_supervisor(site):
    text = "# HELP dials_total Dials.\n# TYPE dials_total counter\ndials_total {}\n"
    site.answers = {0: answer(text.format(1)), 1: answer(text.format(2))}
    lines = (await site.get("/metrics")).body.decode().splitlines()
    assert "dials_total 3" in lines
    assert any("worker_restarts_total 3" in line for line in lines)


async def test_one_worker_can_be_asked_alone(site):
    site.answers = {1: document(id="server-1-1")}
    assert json.loads((await site.get("/api/v1/overview", "worker=1")).body) == {"id": "server-1-1"}
    assert site.asked == [(1, "/api/v1/overview?worker=1")]


@pytest.mark.parametrize("number", ["2", "-1", "x"])
async def test_a_worker_that_does_not_exist_is_an_error(site, number):
    found = await site.get("/api/v1/agents", f"worker={number}")
    assert (found.status, found.body) == (400, b"worker: a number from 0 to 1\n")


@pytest.mark.parametrize("query", ["", "worker=0", "worker=7"])
@pytest.mark.parametrize("path", ["/api/v1/agents", "/api/v1/overview", "/metrics", "/debug/pprof/heap"])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_refused_whatever_the_other_workers_answer(site, path, query, status):
    """A file of tokens that changes reaches one worker before the other."""
    site.answers = {0: answer('{"error": "token"}', status), 1: answer("[1]")}
    found = await site.get(path, query, token="x")
    assert (found.status, found.body) == (status, b'{"error": "token"}')


async def test_the_token_and_the_source_are_passed_on_by_the_admin_port_alone(site):
    site.answers = {0: answer("[]"), 1: answer("[]")}
    await site.get("/metrics", token="abc")
    assert site.headers == [(("Authorization", "Bearer abc"), ("x-forwarded-for", "10.0.0.9"))] * 2
    site.headers.clear()
    await site.get("/metrics", admin=False, token="abc")
    await site.get("/api/v1/agents")
    assert site.headers == [()] * 4


async def test_requests_with_different_tokens_share_no_answer(site):
    site.answers = {0: answer("[]"), 1: answer("[]")}
    await asyncio.gather(*(site.get("/api/v1/agents", token=token) for token in ("a", "b", None, "a")))
    assert len(site.asked) == 6


async def test_metrics_of_one_tenant_have_nothing_of_the_process(site):
    text = '# HELP dials_total Dials.\n# TYPE dials_total counter\ndials_total{tenant="a"} 1\n'
    site.answers = {0: answer(text), 1: answer("not served", 404)}
    assert "restarts" not in (await site.get("/metrics", "tenant=a")).body.decode()
    site.answers = {0: answer("not served", 404), 1: answer("not served", 404)}
    assert (await site.get("/metrics", "tenant=a")).status == 404


async def test_lists_say_which_worker_a_row_is_from(site):
    site.answers = {number: answer(json.dumps([{"id": f"agent-{number}"}])) for number in (0, 1)}
    rows = json.loads((await site.get("/api/v1/agents")).body)
    assert rows == [{"id": "agent-0", "worker": 0}, {"id": "agent-1", "worker": 1}]


async def test_a_worker_that_does_not_answer_is_left_out(site):
    site.answers = {1: document(total=7)}
    assert json.loads((await site.get("/api/v1/connections")).body) == {"total": 7}


async def test_without_an_answer_the_status_is_503(site):
    assert (await site.get("/api/v1/overview")).status == 503


async def test_an_error_of_a_worker_is_handed_on(site):
    site.answers = {0: answer('{"error": "sort"}', 400), 1: answer('{"error": "sort"}', 400)}
    found = await site.get("/api/v1/connections", "sort=x")
    assert (found.status, found.body) == (400, b'{"error": "sort"}')


async def test_requests_at_one_time_share_an_answer(site):
    site.answers = {0: answer("[]"), 1: answer("[]")}
    await asyncio.gather(*(site.get("/api/v1/agents") for _ in range(20)))
    assert len(site.asked) == 2


async def test_every_row_of_the_tenants_is_asked_of_the_workers_and_the_list_cut_when_it_is_merged(site):
    for number in (0, 1):
        rows = [{"name": name, "state": "ready", "trouble": None, "agents": 1} for name in ("a", "b")]
        site.answers[number] = document(tenants=rows)
    found = await site.get("/api/v1/tenants", "limit=1&sort=name")
    assert site.asked == [(number, "/api/v1/tenants?limit=1&sort=name&all") for number in (0, 1)]
    assert [(each["name"], each["agents"]) for each in json.loads(found.body)["tenants"]] == [("a", 2)]
    site.answers[1] = None
    assert len(json.loads((await site.get("/api/v1/tenants", "limit=1")).body)["tenants"]) == 1
    assert (await site.get("/api/v1/tenants", "sort=colour")).status == 400


async def test_the_readiness_of_a_tenant_is_its_own(site):
    site.answers = {0: answer("ok"), 1: answer("ok")}
    assert (await site.get("/readyz", "tenant=a", admin=False)).status == 200
    site.answers = {0: answer("no tenant 'b'", 500), 1: answer("ok")}
    assert (await site.get("/readyz", "tenant=b", admin=False)).status == 500
    assert site.asked[-1] == (1, "/readyz?tenant=b")

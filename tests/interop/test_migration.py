"""Tests of docs/start/migration.md: programs of the reference are replaced by ours one at a time under load, then back.

All plans run at the same time, each with programs of its own.
"""

from __future__ import annotations

import asyncio
import subprocess

import pytest
import uvloop
from rolling_migration import AGENTS, Migration, Plan

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import Deployment
from support.balancer import HAPROXY, MISSING

PLANS = [
    Plan("v0.36.0", 1, "servers", "grpc"),
    Plan("4f8517c1", 1, "agents", "http-connect"),
    Plan("v0.36.0", 2, "agents", "http-connect"),
    Plan("4f8517c1", 2, "servers", "grpc"),
]
pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(HAPROXY is None, reason=MISSING)]


@pytest.fixture(scope="module")
def migrations(reference, tmp_path_factory):
    """Run all plans and return each with its migration and the error that ended it, or None."""
    made = {plan: Migration(plan, Deployment(tmp_path_factory.mktemp("migration")), reference) for plan in PLANS}

    async def run_all():
        return await asyncio.gather(*(each.run() for each in made.values()), return_exceptions=True)

    errors = uvloop.run(run_all())
    yield {plan: (migration, error) for (plan, migration), error in zip(made.items(), errors, strict=True)}
    for migration in made.values():
        migration.deployment.stop()


@pytest.fixture(params=PLANS, ids=str)
def migration(request, migrations):
    """Return a migration that replaced all programs, forward and back, and kept the sessions beside each of them."""
    migration, error = migrations[request.param]
    if error is not None:
        raise error
    return migration


def test_dials_fail_only_in_flight_at_the_cut_of_a_server_of_the_reference(migration):
    """A dial through a ready server succeeds while any other program is replaced, in either direction."""
    assert migration.dials > 100
    assert migration.unexpected_failures() == []
    assert len(migration.stops) == 2 * (migration.plan.servers + len(AGENTS))


def test_metrics_keep_their_names(migration):
    assert len(migration.metrics[migration.plan.version]) >= 3
    assert migration.metrics[migration.plan.version] <= migration.metrics["ours"]


def test_the_checks_after_each_step_tell_that_both_ends_are_replaced(migration):
    """Both /readyz and the servers' logs show it: an agent of the reference connects without the extension."""
    assert all("[+]agents ok" in text for text in migration.readiness)
    for log in migration.server_logs:
        connected = [line for line in log.splitlines() if "Agent connected" in line]
        assert {
            agent for agent in AGENTS for line in connected if f'"{agent}"' in line and "extension=true" in line
        } == {*AGENTS}
        if migration.plan.first == "servers":
            assert any("extension=false" in line for line in connected)


@pytest.mark.parametrize("program", ["server", "agent"])
def test_the_arguments_of_the_reference_pass_the_check_before_a_replacement(migrations, program):
    """A dry run with `--check-config` accepts exactly the arguments with which the programs of the reference ran."""
    migration, _ = migrations[PLANS[-1]]
    arguments = migration.server_arguments("server-1") if program == "server" else migration.agent_arguments("agent-1")
    command = [*launcher.command(f"proxy-{program}"), "--check-config", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr

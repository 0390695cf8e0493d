"""Tests of a Kubernetes API that is down or silent while agents send tokens, servers keep leases, agents count them."""

from __future__ import annotations

import asyncio
import time

import pytest
from fault_site import Dialler, Talkers, get, until, until_echo

from konnectivity.client import connect
from support import targets
from support.faulty_line import FaultyLine
from support.kubernetes_api import KubernetesApi
from support.targets import listening

AUDIENCE = "system:konnectivity-server"
USER = "system:serviceaccount:kube-system:konnectivity-agent"
TOKENS = ("--agent-namespace=kube-system", "--agent-service-account=konnectivity-agent")


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        for token in ("first", "second", "third"):
            api.add_token(token, USER, AUDIENCE)
            (tmp_path / token).write_text(token)
        yield api


def flags(site, kubeconfig):
    return f"--kubeconfig={kubeconfig}", "--enable-lease-controller", *TOKENS, f"--authentication-audience={AUDIENCE}"


def token(site, name):
    return f"--agent-id={name}", f"--service-account-token-path={site.directory / name}"


async def test_it_is_down_at_the_start_and_comes_back(site, outcome, api):
    """No agent is admitted while tokens cannot be reviewed; all agents are admitted once the API is back."""
    kubeconfig = api.kubeconfig(site.directory / "kubeconfig")
    api.down()
    server = site.start_server(*flags(site, kubeconfig))
    agent = site.start_agent(*token(site, "first"), connects=False)
    await asyncio.to_thread(server.wait_for, "cannot check the token")
    assert get(site.health_port, "/healthz")[0] == 200
    assert get(site.health_port, "/readyz")[0] == 500
    assert get(agent.health_port, "/readyz")[0] == 503
    api.up()
    outcome.recovered(await until(lambda: get(site.health_port, "/readyz")[0] == 200, 40))
    await asyncio.to_thread(server.wait_for, "Lease published")
    assert "Traceback" not in server.log + agent.log


async def test_it_falls_silent(site, outcome, api):
    """While the API swallows all bytes, open connections continue and agents checked before may reconnect."""
    with FaultyLine(("127.0.0.1", api.port)) as line, FaultyLine(("127.0.0.1", site.agent_port)) as agents:
        cluster = api.cluster(server=f"https://127.0.0.1:{line.port}")
        server = site.start_server(*flags(site, api.kubeconfig(site.directory / "kubeconfig", cluster=cluster)))
        site.start_agent(*token(site, "first"), port=agents.port)
        async with (
            listening(targets.echo) as address,
            connect(**site.frontend("http-connect", True)) as tunnel,
        ):
            async with Talkers(tunnel, address) as talkers, Dialler(tunnel, address, 0.1) as dialler:
                line.lose()
                second = site.start_agent(*token(site, "second"), connects=False)
                await asyncio.sleep(1)
                assert get(second.health_port, "/readyz")[0] == 503
            outcome.failed(len(dialler.failed) + len(talkers.broken), len(dialler.attempts) + talkers.count)
            agents.cut()
            outcome.detected(await until_echo(tunnel, address, 10))
            healed = time.monotonic()
            line.heal()
            await until(lambda: get(second.health_port, "/readyz")[0] == 200, 40)
            outcome.recovered(time.monotonic() - healed)
    assert "Traceback" not in server.log

"""Tests of name servers that are slow, wrong or down, for an agent's targets and for the name of its server.

The agent runs in a mount namespace with a resolv.conf of its own, which names a name server of the test's.
"""

from __future__ import annotations

import asyncio
import subprocess
import time

import pytest
from fault_site import Dialler, get, until, until_echo

from konnectivity.client import DialError, connect
from support import targets
from support.name_server import NameServer
from support.targets import listening

SLOW_DIALS = 40  # concurrent dials, each to a name of its own
DIAL_S = 5.0  # the agent's dial timeout, which includes the lookup
MACHINE_S = 1.0


@pytest.fixture
def names(tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a mount namespace cannot be made here: root is needed")
    with NameServer(tmp_path) as names:
        names.zone.addresses |= {"fast.test": "127.0.0.1", "server.test": "127.0.0.1"}
        names.zone.addresses |= {f"slow-{number}.test": "127.0.0.1" for number in range(SLOW_DIALS)}
        yield names


async def timed(tunnel, address):
    """Return the seconds that a dial took, and the text of its error ("" on success)."""
    began = time.monotonic()
    try:
        _, writer = await tunnel.dial(address)
        writer.close()
    except DialError as error:
        return time.monotonic() - began, str(error)
    return time.monotonic() - began, ""


async def test_slow_names_hold_up_no_others(site, outcome, names):
    site.start_server()
    agent = site.start_agent(within=names.within)
    names.zone.slow = {f"slow-{number}.test": 30.0 for number in range(SLOW_DIALS)}
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        port = address.rpartition(":")[2]
        await until_echo(tunnel, f"fast.test:{port}", 5)
        slow = [asyncio.create_task(timed(tunnel, f"slow-{n}.test:{port}")) for n in range(SLOW_DIALS)]
        await asyncio.sleep(0.3)
        async with Dialler(tunnel, f"fast.test:{port}", 0.1) as dialler:
            answers = await asyncio.gather(*slow)
        outcome.detected(max(took for took, _ in answers))
        assert {text for _, text in answers} == {
            f"dial tcp slow-{n}.test:{port}: i/o timeout" for n in range(SLOW_DIALS)
        }
        outcome.failed(len(dialler.failed), len(dialler.attempts))
        assert max(each.took for each in dialler.attempts) < MACHINE_S
        began = time.monotonic()
        agent.send(2)
        assert agent.wait() == 0
        assert time.monotonic() - began < 3, "the end waits for name servers"
    await site.at_rest()


async def test_name_servers_that_fail_lie_or_are_gone(site, outcome, names):
    site.start_server()
    agent = site.start_agent(within=names.within)
    zone = names.zone
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        fast = f"fast.test:{address.rpartition(':')[2]}"
        _, text = await timed(tunnel, fast.replace("fast", "none"))
        assert text == "dial tcp: lookup none.test: no such host"
        zone.failing = True
        _, text = await timed(tunnel, fast)
        assert text == "dial tcp: lookup fast.test: server misbehaving"
        zone.failing = False
        zone.addresses["fast.test"] = "127.0.0.66"  # an address without a listener
        _, text = await timed(tunnel, fast)
        assert text == f"dial tcp {fast.replace('fast.test', '127.0.0.66')}: connect: connection refused"
        zone.addresses["fast.test"] = "127.0.0.1"
        await until_echo(tunnel, fast, 5)
        zone.silent = True
        took, text = await timed(tunnel, fast)
        assert text == f"dial tcp {fast}: i/o timeout"
        outcome.detected(took)
        await until_echo(tunnel, address, 2)  # addresses need no name server
        assert get(agent.health_port, "/readyz")[0] == 200
        zone.silent = False
        outcome.recovered(await until_echo(tunnel, fast, 10))
    await site.at_rest()


async def test_the_name_of_the_server_cannot_be_had(site, outcome, names):
    """The server's name is unresolvable at the start, and again later, when the open tunnel needs no name server."""
    certificate = site.authority.issue("proxy-server", dns=("server.test",), ips=("127.0.0.1",), server=True)
    certificate.write(site.directory, "server")
    site.start_server()
    names.zone.silent = True
    flags = ("--proxy-server-host=server.test",)
    agent = site.start_agent(*flags, within=names.within, connects=False)
    await asyncio.sleep(1)
    assert get(agent.health_port, "/healthz")[0] == 200
    assert get(agent.health_port, "/readyz")[0] == 503
    names.zone.silent = False
    outcome.recovered(await until(lambda: get(agent.health_port, "/readyz")[0] == 200, 20))
    names.zone.silent = True
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        async with Dialler(tunnel, address, 0.1) as dialler:
            await asyncio.sleep(1)
        outcome.failed(len(dialler.failed), len(dialler.attempts))
    assert agent.log.count("Connected to server") == 1

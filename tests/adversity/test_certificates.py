"""Tests of certificates that are replaced, and of certificates that expire, while connections are open."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from fault_site import Talkers, get, metrics, until, until_echo

from konnectivity.client import connect
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.faulty_line import FaultyLine
from support.targets import listening

LIFE_S = 8  # lifetime of a certificate: enough to start the programs on a busy machine


async def test_all_of_them_are_replaced(site, outcome):
    """With a new CA, open connections continue, new ones use the new certificates, old certificates are refused."""
    site.start_server()
    with FaultyLine(("127.0.0.1", site.agent_port)) as line:
        agent = site.start_agent(port=line.port)
        old = site.frontend("http-connect", False)
        async with (
            listening(targets.echo) as address,
            connect(**site.frontend("http-connect", True)) as tunnel,
            Talkers(tunnel, address) as talkers,
        ):
            another = Authority.create("another CA")
            another.write(site.directory)
            site.certify(another)
            replaced = time.monotonic()
            await talkers.go_on(5)
            async with connect(**site.frontend("http-connect", False)) as new:
                outcome.detected(await until_echo(new, address, 10))
            async with connect(**old) as refused:
                try:
                    await until_echo(refused, address, 0.5)
                    raise AssertionError("a certificate of the old CA is accepted")
                except (OSError, TimeoutError):
                    pass
            await talkers.go_on(5)
            outcome.failed(len(talkers.broken), talkers.count)
            outcome.lost(talkers.wrong)
            await asyncio.sleep(max(0.0, replaced + 1.1 - time.monotonic()))  # programs check the files once a second
            line.cut()  # the agent must reconnect with its new certificate
            outcome.recovered(await until_echo(tunnel, address, 10))
        await asyncio.to_thread(agent.wait_for, "Connected to server", 2)
    await site.at_rest()


async def test_all_of_them_expire(site, outcome):
    site.certify(valid_for=timedelta(seconds=LIFE_S))
    end = datetime.now(UTC) + timedelta(seconds=LIFE_S + 1)
    site.start_server()
    with FaultyLine(("127.0.0.1", site.agent_port)) as line:
        agent = site.start_agent(port=line.port)
        async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
            async with Talkers(tunnel, address) as talkers:
                left = metrics(site.health_port)
                name = 'server_certificate_expiry_timestamp_seconds{end="agents",kind="certificate"}'
                assert 0 < end.timestamp() - left[name] < 3, "the metric says when"
                await asyncio.sleep((end - datetime.now(UTC)).total_seconds())
                await talkers.go_on(5)
                await until_echo(tunnel, address, 5)
                outcome.failed(len(talkers.broken), talkers.count)
                outcome.lost(talkers.wrong)
            line.cut()
            since = time.monotonic()
            await asyncio.to_thread(agent.wait_for, "the server's certificate is not accepted: certificate has expired")
            outcome.detected(time.monotonic() - since)
            assert get(agent.health_port, "/readyz")[0] == 503
            site.certify()
            outcome.recovered(await until(lambda: get(agent.health_port, "/readyz")[0] == 200, 20))
            await until_echo(tunnel, address, 5)
    await site.at_rest()

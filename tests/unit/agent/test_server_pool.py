"""Server pool, against proxy servers in memory and with a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from konnectivity.grpc.status import OK, Code, RpcError, Status
from konnectivity.tunnel.serving import IncomingDial
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent.pool_plan import DialAddress, PoolPlan
from konnectivity_agent.server_connection import (
    ServerConnection,
    ServerConnectionEvents,
    greet,
)
from konnectivity_agent.server_count import ServerCount
from konnectivity_agent.server_greeting import AgentIdentity
from konnectivity_agent.server_lookup import ServerLookup
from konnectivity_agent.server_pool import SAME_ID_CHECK_S, ServerPool
from support.memory_streams import StillLoop
from support.remote_server import RemoteServer

HOST = ("balancer.test", 8091)
LOST = Status(Code.UNAVAILABLE, "the server was killed")


class Site:
    """Servers behind the addresses of one host, and an agent's pool that dials them.

    Attributes:
        behind: the servers behind each IP address, taken in turn; an address without servers refuses connections.
        dials: times of all dials.
        changes: number of calls of the pool's `on_change`.
        fault: is raised by the next dial.

    """

    def __init__(self, tasks: asyncio.TaskGroup, behind: dict[str, list[RemoteServer]], forever: bool = False) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        self.loop = loop
        self.behind = behind
        self.dials: list[float] = []
        self.changes = 0
        self.fault: Exception | None = None
        self._turn = 0
        self.pool = ServerPool(
            ServerLookup([HOST], getaddrinfo=self._getaddrinfo),
            PoolPlan(1.0, 10.0, forever, Random(5)),
            ServerCount("default"),
            self._connect,
            tasks,
            self._changed,
        )

    @property
    def ids(self) -> list[str]:
        """Return the ids of the connected servers."""
        return sorted(self.pool.servers)

    async def wait(self, seconds: float = 0.0) -> None:
        """Advance the clock in small steps and deliver everything that is sent meanwhile."""
        for _ in range(max(1, round(seconds / 0.1))):
            await self.loop.advance(min(seconds, 0.1))
            for _ in range(10):
                await asyncio.sleep(0)

    async def _getaddrinfo(self, host: str, port: int, type: int) -> list[tuple]:  # type: ignore[type-arg]
        assert (host, port) == HOST
        return [(0, type, 0, "", (ip, port)) for ip in self.behind]

    async def _connect(self, address: DialAddress, events: ServerConnectionEvents) -> ServerConnection:
        self.dials.append(self.loop.time())
        if (fault := self.fault) is not None:
            self.fault = None
            raise fault
        servers = self.behind.get(address.ip)
        if not servers:
            raise ConnectionRefusedError(111, "connection refused")
        self._turn += 1
        channel = servers[self._turn % len(servers)].channel()
        options = TunnelOptions(clock=self.loop.time)
        return await greet(channel, address, events, 10.0, AgentIdentity("agent"), options, _open_nothing)

    def _changed(self) -> None:
        self.changes += 1


def _open_nothing(dial: IncomingDial) -> None:
    dial.failed("this agent opens nothing")


class Done(Exception):
    """Exception that ends the tasks of a test."""


def run(
    scenario: Callable[[Site], Awaitable[None]], behind: dict[str, list[RemoteServer]], forever: bool = False
) -> None:
    """Run a scenario with a pool that is running, and end the pool after it."""

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                site = Site(tasks, behind, forever)
                tasks.create_task(site.pool.run())
                await site.wait()
                await scenario(site)
                raise Done
        except* Done:
            pass

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(main())


def servers(*names: str) -> list[RemoteServer]:
    return [RemoteServer(name, len(names)) for name in names]


def test_it_finds_all_servers_behind_a_balancer():
    three = servers("one", "two", "three")

    async def scenario(site: Site) -> None:
        await site.wait(10.0)
        assert site.ids == ["one", "three", "two"]
        assert [len(server.established) for server in three] == [1, 1, 1]
        assert (site.pool.count, site.pool.answering) == (3, 3)
        dials = len(site.dials)
        await site.wait(60.0)
        assert len(site.dials) == dials, "it dials on though all servers are connected"

    run(scenario, {"10.0.0.1": three})


def test_it_connects_to_every_address_of_a_host_at_once():
    one, two = servers("one", "two")

    async def scenario(site: Site) -> None:
        await site.wait(0.1)
        assert site.ids == ["one", "two"]
        assert site.changes == 2

    run(scenario, {"10.0.0.1": [one], "10.0.0.2": [two]})


def test_a_server_that_refuses_is_dialled_again_ever_more_rarely_and_logged_once(caplog):
    caplog.set_level(logging.INFO)

    async def scenario(site: Site) -> None:
        await site.wait(60.0)
        pauses = [after - before for before, after in zip(site.dials, site.dials[1:], strict=False)]
        assert pauses[0] < 1.3
        assert max(pauses) <= 11.2
        assert 8 <= len(site.dials) <= 12
        site.behind["10.0.0.1"] = servers("one")
        await site.wait(11.0)
        assert site.ids == ["one"]

    run(scenario, {"10.0.0.1": []})
    assert caplog.text.count("Cannot connect to the server") == 1


def test_an_agent_that_a_server_does_not_accept_logs_why(caplog):
    (one,) = servers("one")
    one.refusal = RpcError(Code.UNAUTHENTICATED, "no such token")

    async def scenario(site: Site) -> None:
        await site.wait(1.0)
        assert site.ids == []

    run(scenario, {"10.0.0.1": [one]})
    assert "no such token" in str([record.__dict__ for record in caplog.records])


def test_a_lost_server_is_dialled_again_within_an_interval():
    (one,) = servers("one")

    async def scenario(site: Site) -> None:
        await site.wait(20.0)
        one.stop(LOST)
        await site.wait()
        assert site.ids == []
        assert site.pool.failures == {"from_server": 1}
        await site.wait(1.2)
        assert site.ids == ["one"]
        assert len(one.tunnels) == 2

    run(scenario, {"10.0.0.1": [one]})


def test_an_orderly_end_counts_as_no_failure():
    (one,) = servers("one")

    async def scenario(site: Site) -> None:
        await site.wait(20.0)
        one.stop(OK)
        await site.wait(2.0)
        assert site.pool.failures == {}

    run(scenario, {"10.0.0.1": [one]})


def test_a_replacement_of_a_draining_server_is_connected_while_it_still_serves():
    """The old and the new process have one server id, as in a rollout of a StatefulSet."""
    old, new = RemoteServer("one", instance="old"), RemoteServer("one", instance="new")

    async def scenario(site: Site) -> None:
        await site.wait(20.0)
        old.drain()
        await site.wait()
        site.behind["10.0.0.1"] = [new]
        await site.wait(2.0)
        assert site.ids == ["one"]
        assert site.pool.servers["one"].instance == "new"
        assert len(old.established) == 1, "what is open on the old server may end by itself"
        old.stop(OK)
        await site.wait(2.0)
        assert site.pool.servers["one"].instance == "new"

    run(scenario, {"10.0.0.1": [old]})


def test_a_server_that_does_not_answer_is_replaced_and_its_tunnel_closed_when_it_answers_again():
    frozen, other = RemoteServer("one", instance="frozen"), RemoteServer("one", instance="other")

    async def scenario(site: Site) -> None:
        await site.wait(5.0)
        connection = site.pool.servers["one"]
        frozen.silent = True
        connection.probe()
        await site.wait(2.5)
        assert (site.pool.answering, site.pool.times_suspected) == (0, 1)
        site.behind["10.0.0.1"] = [other]
        await site.wait(8.0)  # one dial waits for the frozen server's answer
        assert site.pool.servers["one"].instance == "other"
        assert site.pool.answering == 1
        frozen.heard_at = 1e15
        await site.wait(3.0)
        assert frozen.established == [], "a replaced tunnel without connections ends when its server answers"
        assert site.ids == ["one"]

    frozen.heard_at = other.heard_at = 0.0
    run(scenario, {"10.0.0.1": [frozen]})


def test_a_new_server_count_starts_a_search():
    one, two = RemoteServer("one", 1), RemoteServer("two", 2)

    async def scenario(site: Site) -> None:
        await site.wait(30.0)
        assert site.ids == ["one"]
        site.behind["10.0.0.1"].append(two)
        await site.wait(10.0)
        assert site.ids == ["one"], "nothing tells the agent that there is a second server"
        one.announce(2)
        await site.wait(3.0)
        assert site.ids == ["one", "two"]

    run(scenario, {"10.0.0.1": [one]})


def test_the_number_of_leases_starts_a_search():
    one, two = RemoteServer("one", 1), RemoteServer("two", 1)

    async def scenario(site: Site) -> None:
        await site.wait(10.0)
        site.behind["10.0.0.1"].append(two)
        site.pool.leases_counted(2)
        await site.wait(3.0)
        assert site.ids == ["one", "two"]

    run(scenario, {"10.0.0.1": [one]})


def test_two_servers_with_one_id_are_reported_and_one_of_them_is_used(caplog):
    one, other = (RemoteServer("same", 2, instance) for instance in ("first", "second"))

    async def scenario(site: Site) -> None:
        await site.wait(SAME_ID_CHECK_S + 2.0)
        assert site.pool.duplicate_ids == {"same"}
        assert len(one.established) + len(other.established) == 1

    run(scenario, {"10.0.0.1": [one], "10.0.0.2": [other]})
    assert caplog.text.count("Two servers have the same server ID") == 1


def test_fewer_servers_than_announced_are_reported_once(caplog):
    one = RemoteServer("one", 3)

    async def scenario(site: Site) -> None:
        await site.wait(60.0)
        assert site.ids == ["one"]

    run(scenario, {"10.0.0.1": [one]})
    assert caplog.text.count("Fewer servers found than there are") == 1


def test_an_address_that_dns_no_longer_has_keeps_its_tunnel():
    one, two = servers("one", "two")

    async def scenario(site: Site) -> None:
        await site.wait(1.0)
        del site.behind["10.0.0.1"]
        await site.wait(40.0)
        assert site.ids == ["one", "two"]

    run(scenario, {"10.0.0.1": [one], "10.0.0.2": [two]})


def test_after_drain_servers_are_told_and_none_is_dialled():
    (one,) = servers("one")

    async def scenario(site: Site) -> None:
        await site.wait(1.0)
        site.pool.drain()
        one.deliver()
        assert one.tunnels[0].draining
        one.stop(OK)
        dials = len(site.dials)
        await site.wait(30.0)
        assert len(site.dials) == dials

    run(scenario, {"10.0.0.1": [one]})


@pytest.mark.parametrize("forever", [False, True])
def test_only_with_sync_forever_it_searches_when_all_servers_are_connected(forever):
    (one,) = servers("one")

    async def scenario(site: Site) -> None:
        await site.wait(1.0)
        dials = len(site.dials)
        await site.wait(30.0)
        assert (len(site.dials) > dials + 10) == forever
        assert len(one.established) == 1

    run(scenario, {"10.0.0.1": [one]}, forever)


def test_after_an_unexpected_error_the_address_is_dialled_again():
    (one,) = servers("one")

    async def scenario(site: Site) -> None:
        await site.wait(20.0)
        site.fault = RuntimeError("broken on purpose")
        one.stop(LOST)
        await site.wait(5.0)
        assert site.fault is None
        assert site.ids == ["one"]
        assert len(site.dials) == 3

    run(scenario, {"10.0.0.1": [one]})

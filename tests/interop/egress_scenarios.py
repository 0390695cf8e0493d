"""Scenarios of kube-apiserver's clients for each pair of server and agent.

Each scenario is a coroutine that raises for anything but the expected outcome. `outcomes` runs many of them side by
side; a test for each cell then reports its own outcome.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reference_pairs import side_by_side

from support import targets
from support.targets import listening

MIB = 1 << 20
LARGE, SMALL = 20 * MIB, 2 * MIB
AT_ONCE = 4  # scenarios of one pair that run side by side


@dataclass
class EgressClient:
    """Client of one pair, with the targets that it dials and the error texts that it must report.

    Attributes:
        driver: command that runs a scenario of the client.
        kubelet: address of a kubelet-like target.
        size: bytes of a transfer.
        by_status: text of a failed dial for a client that reads only the status line of CONNECT; otherwise "".
        answers_early: whether the server accepts a dial before the agent has answered it.
        echo: address of an echo target, set by `outcomes`.
    """

    driver: Any
    kubelet: str
    size: int = LARGE
    by_status: str = ""
    answers_early: bool = False
    echo: str = ""

    async def ok(self, scenario, target, **options):
        return await asyncio.to_thread(lambda: self.driver.ok(scenario, target, **options))

    async def fails(self, scenario, target, *texts, **options):
        """Check that the scenario fails with one of the texts; after an early answer the error may arrive as data."""
        result = await asyncio.to_thread(lambda: self.driver.run(scenario, target, **options))
        if self.answers_early:
            assert result["ok"] or "buffered data from CONNECT proxy" in result["error"], result
        else:
            assert not result["ok"]
            assert any(each in result["error"] for each in texts), result


async def echo(client):
    assert await client.ok("echo", client.echo) == 1


async def transfers_both_ways_at_once(client):
    assert await client.ok("echo", client.echo, size=client.size) == 1


async def connections_200_at_once(client):
    assert await client.ok("echo", client.echo, count=200, size=10_000) == 200


async def https_with_a_kept_connection_and_http_2(client):
    assert await client.ok("https", client.kubelet) == {"text": "hello by HTTP/2.0", "dials": 1}


async def a_followed_log(client):
    assert await client.ok("log", client.kubelet) == 20


async def download_and_upload(client):
    assert await client.ok("download", client.kubelet, size=client.size) == client.size
    assert await client.ok("upload", client.kubelet, size=client.size) == client.size


async def exec_over_spdy(client):
    assert await client.ok("exec-spdy", client.kubelet, size=MIB) == "running [cat]"


async def exec_over_websocket(client):
    assert await client.ok("exec-websocket", client.kubelet, size=MIB) == "running [cat]"


async def port_forward(client):
    assert await client.ok("portforward", client.kubelet, size=MIB) == MIB


async def a_refused_dial_says_so(client):
    await client.fails("dial", f"127.0.0.1:{unused_port()}", client.by_status or "connect: connection refused")


async def an_unknown_host_says_so(client):
    texts = (client.by_status,) if client.by_status else ("no such host", "server misbehaving")
    await client.fails("dial", "no-such-host.invalid:80", *texts)


async def a_cancelled_dial_ends_at_once(client):
    if client.answers_early:
        await client.fails("cancel", f"127.0.0.1:{unused_port()}", wait="200ms")
        return
    with socket.socket() as sock:  # connects hang because the backlog is full
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        started = time.monotonic()
        await client.fails(
            "cancel", f"127.0.0.1:{sock.getsockname()[1]}", "context", "timeout", "Timeout", wait="200ms"
        )
        took = time.monotonic() - started
        for filler in fillers:
            filler.close()
    assert took < 8


async def a_target_that_closes_ends_the_connection(client):
    async def close_after_hold(reader, writer):
        writer.write(await reader.readexactly(4))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()

    async with listening(close_after_hold) as address:
        detail = await client.ok("hold", address)
    assert detail["end"] == "EOF"
    assert detail["seconds"] < 3


SCENARIOS = {
    each.__name__: each
    for each in (
        echo,
        transfers_both_ways_at_once,
        connections_200_at_once,
        https_with_a_kept_connection_and_http_2,
        a_followed_log,
        download_and_upload,
        exec_over_spdy,
        exec_over_websocket,
        port_forward,
        a_refused_dial_says_so,
        an_unknown_host_says_so,
        a_cancelled_dial_ends_at_once,
        a_target_that_closes_ends_the_connection,
    )
}


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def outcomes(clients: Mapping[str, EgressClient], scenarios: Iterable[str]) -> dict[tuple[str, str], Any]:
    """Run scenarios with clients, by name, and return the outcome of each cell: None or an exception."""
    async with listening(targets.echo) as address:
        for client in clients.values():
            client.echo = address

        async def cell(key):
            await SCENARIOS[key[1]](clients[key[0]])

        return await side_by_side(cell, [(name, scenario) for name in clients for scenario in scenarios], AT_ONCE)

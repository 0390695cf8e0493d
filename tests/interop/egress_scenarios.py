"""Scenarios of kube-apiserver's clients for each pair of server and agent, reached by a fixture `client`."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from support.targets import listening

MIB = 1 << 20


async def ok(client, scenario, target, **options):
    return await asyncio.to_thread(lambda: client.ok(scenario, target, **options))


async def error(client, scenario, target, **options):
    return await asyncio.to_thread(lambda: client.error(scenario, target, **options))


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class EgressScenarios:
    """Base class of tests: the scenarios that each client runs through each pair."""

    async def test_echo(self, client, echo):
        assert await ok(client, "echo", echo) == 1

    async def test_20_mb_each_way(self, client, echo):
        assert await ok(client, "echo", echo, size=20 * MIB) == 1

    async def test_200_at_once(self, client, echo):
        assert await ok(client, "echo", echo, count=200, size=10_000) == 200

    def test_https_with_a_kept_connection_and_http_2(self, client, kubelet):
        assert client.ok("https", kubelet[0]) == {"text": "hello by HTTP/2.0", "dials": 1}

    def test_a_followed_log(self, client, kubelet):
        assert client.ok("log", kubelet[0]) == 20

    def test_download_and_upload(self, client, kubelet):
        assert client.ok("download", kubelet[0], size=20 * MIB) == 20 * MIB
        assert client.ok("upload", kubelet[0], size=20 * MIB) == 20 * MIB

    @pytest.mark.parametrize("protocol", ["spdy", "websocket"])
    def test_exec(self, client, kubelet, protocol):
        assert client.ok(f"exec-{protocol}", kubelet[0], size=MIB) == "running [cat]"

    def test_port_forward(self, client, kubelet):
        assert client.ok("portforward", kubelet[0], size=MIB) == MIB

    def test_a_refused_dial_says_so(self, client, told_by_connect):
        text = client.error("dial", f"127.0.0.1:{unused_port()}")
        assert (told_by_connect or "connect: connection refused") in text

    def test_an_unknown_host_says_so(self, client, told_by_connect):
        text = client.error("dial", "no-such-host.invalid:80")
        reasons = (told_by_connect,) if told_by_connect else ("no such host", "server misbehaving")
        assert any(each in text for each in reasons)

    async def test_a_cancelled_dial_ends_at_once(self, client):
        with socket.socket() as sock:  # connects hang because the backlog is full
            sock.bind(("127.0.0.1", 0))
            sock.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
            await asyncio.sleep(0.2)
            started = time.monotonic()
            address = f"127.0.0.1:{sock.getsockname()[1]}"
            text = await error(client, "cancel", address, wait="500ms")
            took = time.monotonic() - started
            for filler in fillers:
                filler.close()
        assert "context" in text or "timeout" in text.lower()
        assert took < 8

    async def test_a_target_that_closes_ends_the_connection(self, client):
        async def close_after_hold(reader, writer):
            writer.write(await reader.readexactly(4))
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.close()

        async with listening(close_after_hold) as address:
            detail = await ok(client, "hold", address)
        assert detail["end"] == "EOF"
        assert detail["seconds"] < 3

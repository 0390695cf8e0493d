"""Tests of endless agent ids, hosts and tokens at the agents' port: the server keeps few, and admits honest agents."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest
from attack_site import ACCOUNT, AUDIENCE, MIB, NAMESPACE, honest, measured, memory_returns
from raw_http2 import CONNECT, EMOJI, call, greeting, headers

from konnectivity.http2 import frames

BATCH = 25


def _drain(attacker):
    attacker.setblocking(False)
    with suppress(OSError):
        while attacker.recv(1 << 16):
            pass
    attacker.settimeout(30)


async def calls(site, number, fields, certificate, ended=False):
    """Make `number` calls with `fields(n)`, up to 500 on one connection; with `ended`, each is reset afterwards."""
    numbers = iter(range(number))
    while batch := list(zip(range(500), numbers, strict=False)):
        with site.agent_socket(certificate) as attacker, suppress(OSError):
            attacker.sendall(greeting())
            for begin in range(0, len(batch), BATCH):
                part = [(1 + 2 * at, n) for at, n in batch[begin : begin + BATCH]]
                out = b"".join(headers(stream, call(CONNECT, *fields(n))) for stream, n in part)
                if ended:
                    out += b"".join(frames.rst_stream(stream, 8) for stream, _ in part)
                await asyncio.to_thread(attacker.sendall, out)
                await asyncio.sleep(0.03)
                _drain(attacker)
            await asyncio.sleep(0.2)
            with suppress(OSError):
                socket.socket.shutdown(attacker, socket.SHUT_RDWR)


@pytest.mark.parametrize("length", [200, 31_900])
async def test_agent_ids_without_end(token_site, length):
    """Calls without certificate and token leave no lasting memory and few log lines, however long their agent ids."""
    server = token_site.server()
    token_site.agent()
    async with honest(token_site) as client, measured(server) as cost:
        await calls(token_site, 2000, lambda n: [(b"agentid", EMOJI + b"%08d" % n + b"a" * length)], certificate=False)
    client.check()
    assert cost.cpu_s < 8.0
    assert cost.memory_growth < 25 * MIB
    assert cost.log_bytes < 300_000
    await memory_returns(server, cost.memory_before)


async def test_hosts_without_end(site):
    """An admitted agent that registers again and again with other hosts costs the server little memory and log."""
    server = site.server("--proxy-strategies=destHost,default")
    site.agent()

    def fields(n):
        hosts = (
            "&".join(f"host={'a' * 55}{n:06}{each:02}" for each in range(100)) if n % 2 else f"host={'a' * 30_000}{n}"
        )
        return [(b"agentid", b"a"), (b"agentidentifiers", hosts.encode())]

    async with honest(site) as client, measured(server) as cost:
        await calls(site, 1500, fields, certificate=True, ended=True)
    client.check()
    assert cost.cpu_s < 15.0
    assert cost.memory_growth < 40 * MIB
    assert cost.log_bytes < 600_000


def token_of(number, uid):
    """Return an unsigned token that names our audience and service account."""
    account = {"name": ACCOUNT, "uid": uid}
    claims = {"aud": [AUDIENCE], "n": number, "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": account}}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@asynccontextmanager
async def garbage(site, made_up, connections=12):
    """Keep forged tokens waiting for their review on each of the connections during the block."""
    numbers = count()

    async def one():
        while True:
            with suppress(OSError), site.agent_socket(certificate=False) as attacker:
                attacker.sendall(greeting())
                for stream in range(1, 2000, 2):
                    token = made_up(next(numbers)).encode()
                    agent = (b"agentid", b"evil-%d" % stream)
                    attacker.sendall(headers(stream, call(CONNECT, agent, (b"authorization", b"Bearer " + token))))
                    await asyncio.sleep(0.1)
                    _drain(attacker)

    attackers = [asyncio.create_task(one()) for _ in range(connections)]
    await asyncio.sleep(2)
    try:
        yield
    finally:
        for each in attackers:
            each.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)


@pytest.mark.parametrize("kind", ["opaque", "claims", "forged-claims"])
async def test_tokens_that_nobody_issued(token_site, kind):
    """With 120 forged tokens a second from its own address, an honest agent is still admitted."""
    server = token_site.server()
    if kind == "forged-claims":
        token_site.agent()  # an agent of the cluster has been accepted before
    token = "good" if kind == "opaque" else token_of("honest", "a1")
    for each in ("good", token):
        token_site.api.add_token(each, f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", AUDIENCE, uid="a1")
    if kind == "forged-claims":
        token_site.directory.joinpath("token").write_text(token_of("first", "a1"))
        token_site.api.add_token(
            token_of("first", "a1"), f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", AUDIENCE, uid="a1"
        )
        token_site.agent()
    token_site.directory.joinpath("token").write_text(token)
    made_up = (lambda n: token_of(n, "b2")) if kind == "forged-claims" else "garbage-{}".format
    async with garbage(token_site, made_up), measured(server) as cost:
        began = asyncio.get_running_loop().time()
        agent = await asyncio.to_thread(token_site.agent)
        took = asyncio.get_running_loop().time() - began
    assert agent.returncode is None
    assert took < 12.0
    assert cost.cpu_s < 10.0
    assert cost.memory_growth < 25 * MIB
    assert cost.log_bytes < 300_000

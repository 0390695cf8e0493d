"""Tests of an agent that reaches its server through a forward proxy set by HTTPS_PROXY. Only the proxy can resolve the
server's name. 0.0.0.0 is an address of this host that is not exempt from proxying by default."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode

import pytest

from konnectivity.client import connect
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.forward_proxy_server import ForwardProxy
from support.targets import listening

NAME = "konnectivity.test"
THIS_HOST = "0.0.0.0"
NAMES = {NAME: "127.0.0.1", THIS_HOST: "127.0.0.1"}
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
FAILED = "Cannot connect to the server, will keep trying"


@pytest.fixture
def deployment(fresh, monkeypatch):
    """Yield a deployment whose server certificate has the names, with no proxy variable set."""
    authority = Authority.create("test CA")
    authority.write(fresh.directory)
    server = authority.issue("proxy-server", dns=("localhost", NAME), ips=("127.0.0.1", THIS_HOST), server=True)
    server.write(fresh.directory, "server")
    authority.issue("client", client=True).write(fresh.directory, "client")
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    fresh.start_server()
    return fresh


@pytest.fixture
def proxy():
    with ForwardProxy(NAMES) as proxy:
        yield proxy


def start_agent(deployment, *more, host=NAME):
    arguments = deployment.agent_arguments("--sync-interval-cap=300ms", f"--proxy-server-host={host}", *more)
    # The deployment's own host is the first value; repeated lists add up.
    arguments.remove("--proxy-server-host=127.0.0.1")
    return deployment.start_package("konnectivity_agent", arguments)


async def test_only_the_server_is_reached_through_the_proxy_which_asks_for_a_password(deployment, monkeypatch):
    with ForwardProxy(NAMES, credentials="agent:p@ss/word") as proxy:
        url = f"http://agent:p%40ss%2Fword@127.0.0.1:{proxy.port}"
        for variable in VARIABLES[:3]:  # connections to targets ignore all proxy variables
            monkeypatch.setenv(variable, url)
        agent = await asyncio.to_thread(start_agent, deployment)
        await asyncio.to_thread(agent.wait_for, "Connected to server")
        async with listening(targets.echo) as address, connect(f"unix:{deployment.socket}", "grpc") as tunnel:
            reader, writer = await tunnel.dial(address.replace("127.0.0.1", THIS_HOST))
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        assert proxy.targets == [f"{NAME}:{deployment.agent_port}"]
        assert len(proxy.requests) == 1
        announced = f'Connecting through a forward proxy (HTTPS_PROXY)" proxy="127.0.0.1:{proxy.port}" servers='
        await asyncio.to_thread(agent.wait_for, announced)
        assert agent.log.count(announced) == 1
        for secret in ("p@ss/word", "p%40ss", b64encode(b"agent:p@ss/word").decode()):
            assert secret not in agent.log


@pytest.mark.parametrize(
    ("no_proxy", "through_proxy"), [("", True), ("10.0.0.0/8,.test", True), ("10.0.0.1,0.0.0.0/8", False), ("*", False)]
)
def test_no_proxy_excepts_the_server(deployment, proxy, monkeypatch, no_proxy, through_proxy):
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", no_proxy)
    agent = start_agent(deployment, host=THIS_HOST)
    agent.wait_for("Connected to server")
    assert proxy.targets == [f"{THIS_HOST}:{deployment.agent_port}"] * through_proxy
    assert ("forward proxy" in agent.log) is through_proxy


def test_the_proxy_is_given_the_name_and_nobody_else_looks_it_up(deployment, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    agent = start_agent(deployment, host="127.1")  # syntactically a name; resolves to 127.0.0.1
    agent.wait_for("refuses: 502 Bad Gateway")
    assert proxy.requests[0].startswith(f"CONNECT 127.1:{deployment.agent_port} ")
    agent.wait_for(f'{FAILED}" server="127.1:{deployment.agent_port}" ')


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ("503 Service Unavailable", "refuses: 503 Service Unavailable"),
        ("407 Proxy Authentication Required", "wants a user and password in HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_refuses_is_named_and_asked_again_until_it_is_well(
    deployment, proxy, monkeypatch, refusal, reason
):
    proxy.refusal = refusal
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    agent = start_agent(deployment)
    agent.wait_for(FAILED)
    line = next(each for each in agent.log.splitlines() if FAILED in each)
    assert f"the proxy 127.0.0.1:{proxy.port} {reason}" in line
    before = len(proxy.requests)
    while len(proxy.requests) < before + 2:
        assert agent.returncode is None
        time.sleep(0.01)
    assert agent.log.count(FAILED) == 1
    proxy.refusal = ""
    agent.wait_for("Connected to server")


def test_a_proxy_that_goes_takes_the_tunnel_with_it_until_it_is_back(deployment, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    agent = start_agent(deployment)
    agent.wait_for("Connected to server")
    proxy.refusal = "502 Bad Gateway"
    proxy.cut()
    agent.wait_for("Server connection ended")
    agent.wait_for("refuses: 502 Bad Gateway")
    proxy.refusal = ""
    agent.wait_for("Connected to server", times=2)


def test_a_slow_proxy_is_waited_for(deployment, proxy, monkeypatch):
    proxy.delay_s = 1.0
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    agent = start_agent(deployment)
    agent.wait_for("Connected to server")
    assert len(proxy.requests) == 1
    assert FAILED not in agent.log


@pytest.mark.parametrize("more", [(), ("--check-config",)])
def test_a_value_that_cannot_be_used_is_one_line_and_exit_1(deployment, monkeypatch, more):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@proxy:1080")
    agent = start_agent(deployment, *more)
    assert agent.wait() == 1
    (line,) = agent.log.splitlines()
    assert line.startswith("Error: environment variable HTTPS_PROXY: only HTTP proxies are supported, not socks5")
    assert "secret" not in line


def test_grpcio_does_not_use_the_proxy_and_says_so(deployment, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    agent = start_agent(deployment, "--grpc-implementation=grpcio", host=THIS_HOST)
    agent.wait_for("Connected to server")
    agent.wait_for("HTTPS_PROXY is not honoured with grpcio, connecting directly")
    assert proxy.requests == []

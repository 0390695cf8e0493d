"""Connections to one of several addresses, with real sockets."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time

import pytest

from konnectivity.net.happy_eyeballs import ConnectError, connect_any


def info(host, port, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, "", (host, port) if family == socket.AF_INET else (host, port, 0, 0))


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent():
    """Yield an address that answers no SYN because its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield port
        for each in fillers:
            each.close()


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def test_one_address(listening):
    with await connect_any([info("127.0.0.1", listening)]) as sock:
        assert sock.getpeername() == ("127.0.0.1", listening)
    with pytest.raises(ConnectError) as caught:
        await connect_any([info("127.0.0.1", 1)])
    assert str(caught.value) == "127.0.0.1:1: connect: connection refused"


async def test_of_several_that_fail_the_first_is_told():
    port = closed_port()
    addresses = [info("127.0.0.2", port), info("255.255.255.255", port), info("::1", port, socket.AF_INET6)]
    with pytest.raises(ConnectError) as caught:
        await connect_any(addresses)
    assert (caught.value.address, caught.value.step) == (f"127.0.0.2:{port}", "connect")
    assert str(caught.value).endswith(": connect: connection refused")


async def test_one_that_fails_is_followed_at_once(listening):
    began = time.monotonic()
    with await connect_any([info("127.0.0.1", 1), info("127.0.0.1", listening)], delay_s=30) as sock:
        assert sock.getpeername()[1] == listening
    assert time.monotonic() - began < 10


async def test_one_that_is_silent_is_followed_after_a_moment_and_its_socket_is_closed(listening, silent):
    before = len(os.listdir("/proc/self/fd"))
    async with asyncio.timeout(10):
        sock = await connect_any([info("127.0.0.1", silent), info("127.0.0.1", listening)], delay_s=0.05)
    with sock:
        assert sock.getpeername()[1] == listening
    assert len(os.listdir("/proc/self/fd")) == before


async def test_who_gives_up_leaves_no_socket(silent):
    before = len(os.listdir("/proc/self/fd"))
    for addresses in ([info("127.0.0.1", silent)], [info("127.0.0.1", silent)] * 3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connect_any(addresses, delay_s=0.01)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_an_error_that_is_not_of_the_system_is_one_of_its_address(listening):
    with pytest.raises(ConnectError, match="connect: "):
        await connect_any([info("127.0.0.1", 70000), info("not an address", 1)])


async def test_no_descriptor_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(ConnectError) as caught:
            await connect_any([info("10.0.0.1", 80)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(caught.value) == "10.0.0.1:80: socket: too many open files"

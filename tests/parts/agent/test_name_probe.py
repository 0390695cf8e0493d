"""Probes of name servers: whether they answer for a name, with real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager

import pytest

from konnectivity.runtime.changing_file import LOOK_INTERVAL_S
from konnectivity_agent.name_probe import MAX_PROBES, Probe, Silence


class Server(asyncio.DatagramProtocol):
    """Name server that answers by the name in the question."""

    def __init__(self):
        self.asked = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        name, place = [], 12
        while data[place]:
            name.append(data[place + 1 : place + 1 + data[place]].decode())
            place += 1 + data[place]
        kind = data[place + 2]
        self.asked.append((".".join(name), kind))
        if name[0] == "lossy" and self.asked.count(self.asked[-1]) == 1:
            return
        if name[0] == "silent" or (name[0] == "foursilent" and kind == 28):
            return
        code = {"none": 3, "failing": 2}.get(name[0], 0)
        flags = 0x82 if name[0] == "truncated" else 0x80
        answer = data[:2] + bytes((flags, 0x80 | code)) + data[4:6] + bytes((0, int(not code))) + data[8:]
        if name[0] == "forged":
            self.transport.sendto(bytes(2) + answer[2:], address)
            self.transport.sendto(answer[:13] + b"x" + answer[14:], address)
            self.transport.sendto(b"junk", address)
            return
        self.transport.sendto(answer, address)


@asynccontextmanager
async def probing(tmp_path, text="options timeout:1\n", addresses=("127.0.0.1",), most=MAX_PROBES):
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Server, ("127.0.0.1", 0))
    (tmp_path / "resolv.conf").write_text("".join(f"nameserver {each}\n" for each in addresses) + text)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    yield Probe(tmp_path / "resolv.conf", tmp_path / "hosts", transport.get_extra_info("sockname")[1], most), server
    transport.close()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


async def test_answers(tmp_path):
    async with probing(tmp_path) as (probe, server):
        for name in ("found.test", "none.test", "failing.test"):
            assert await probe.ask(name)
        assert not await probe.ask("truncated.test")
        assert sorted(set(server.asked)) == sorted(
            (name, kind) for name in ("found.test", "none.test", "failing.test", "truncated.test") for kind in (1, 28)
        )


async def test_a_datagram_that_is_lost_is_sent_again(tmp_path):
    async with probing(tmp_path) as (probe, _):
        assert await probe.ask("lossy.test") in (True, False)


@pytest.mark.parametrize("name", ["silent.test", "foursilent.test", "forged.test"])
async def test_silence(tmp_path, name):
    async with probing(tmp_path) as (probe, _):
        before = descriptors()
        with pytest.raises(Silence):
            await probe.ask(name)
        assert descriptors() == before


async def test_the_search_list_is_walked_until_a_name_is_found(tmp_path):
    async with probing(tmp_path, "search x y\noptions ndots:2 timeout:1\n") as (probe, server):
        assert await probe.ask("none.test")
        assert [name for name, kind in server.asked if kind == 1] == ["none.test.x", "none.test.y", "none.test"]
        server.asked.clear()
        assert await probe.ask("found.test")
        assert [name for name, kind in server.asked if kind == 1] == ["found.test.x"]


async def test_a_server_that_is_gone_is_an_answer_and_one_that_is_silent_makes_a_name_slow(tmp_path):
    async with probing(tmp_path) as (probe, server):
        server.transport.close()
        await asyncio.sleep(0.05)
        assert await probe.ask("found.test")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        async with probing(tmp_path, addresses=("127.0.0.2", "127.0.0.1")) as (probe, _):
            mute.bind(("127.0.0.2", probe._port))
            assert not await probe.ask("found.test")


async def test_addresses_that_make_no_sense(tmp_path):
    async with probing(tmp_path, addresses=("not-an-address", "127.0.0.1")) as (probe, _):
        assert await probe.ask("found.test")
    async with probing(tmp_path, addresses=("a\0b",)) as (probe, _):
        assert await probe.ask("found.test")


async def test_many_at_a_time_share_a_socket_and_their_number_is_bounded(tmp_path):
    async with probing(tmp_path, "options timeout:30\n", most=100) as (probe, _):
        before = descriptors()
        silent = [asyncio.create_task(probe.ask(f"silent.test{n}")) for n in range(99)]
        await asyncio.sleep(0)
        assert descriptors() == before + 1
        assert await asyncio.gather(probe.ask("found.test")) == [True]
        silent.append(asyncio.create_task(probe.ask("silent.test")))
        await asyncio.sleep(0)
        assert probe.full
        with pytest.raises(Silence, match="too many"):
            await probe.ask("found.test")
        for each in silent:
            each.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        assert descriptors() == before


async def test_a_file_that_has_changed_is_read_again_a_moment_later(tmp_path):
    now = [1000.0]
    probe = Probe(tmp_path / "resolv.conf", tmp_path / "hosts", clock=lambda: now[0])
    assert not probe.knows("localhost")
    (tmp_path / "hosts").write_bytes(b"127.0.0.1 localhost \xff\n")
    assert not probe.knows("localhost")
    now[0] += LOOK_INTERVAL_S
    assert probe.knows("LOCALHOST.")

"""A crowd of hostile peers in one process: `python hostile_peers.py COUNT DIRECTORY AGENT_PORT SERVER_PORT`.

Each peer repeats one attack as fast as it can, reconnects a moment after the server has disconnected it, and stops when
the standard input ends. Then the number of disconnects of each peer is printed as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from konnectivity import wire
from konnectivity.http2 import events, frames
from support import http2_peer
from support.grpc_peer import EXTENDED, data
from support.http2_peer import HostilePeer

AGAIN_S = 0.5
FRAMES = (frames.frame(frames.PING, 0, 0, bytes(8)), frames.settings({}), frames.window_update(1, 1))
Attack = Callable[[HostilePeer], Awaitable[None]]


async def flood(peer: HostilePeer) -> None:
    """Send control frames without pause."""
    await peer.call(http2_peer.request(http2_peer.PROXY))
    for frame in itertools.cycle(FRAMES):
        await peer.say(frame * 1000)


async def rapid_reset(peer: HostilePeer) -> None:
    while True:
        for _ in range(100):
            peer.http2.reset_stream(peer.http2.open_stream(http2_peer.request(http2_peer.PROXY)))
        await peer.say()


async def header_bombs(peer: HostilePeer) -> None:
    while True:
        await peer.call([*http2_peer.request(http2_peer.PROXY), *[("bomb", "x" * 3000)] * 30])


async def continuations(peer: HostilePeer) -> None:
    await peer.say(frames.frame(frames.HEADERS, 0, 1, b"x"))
    while True:
        await peer.say(frames.frame(frames.CONTINUATION, 0, 1, b"x") * 10)


async def shut_windows(peer: HostilePeer) -> None:
    """Send packets that must be answered while granting no window for the answers."""
    await peer.say(http2_peer.zero_window())
    stream_id = await peer.call(http2_peer.request(http2_peer.PROXY, *EXTENDED))
    forged = http2_peer.message(data(7, b"x"))
    while True:
        await peer.say(frames.frame(frames.DATA, 0, stream_id, forged * 100))
        await asyncio.sleep(0.002)


async def endless_messages(peer: HostilePeer) -> None:
    start = http2_peer.message(bytes(4 << 20))[:16_000]
    for _ in range(100):
        stream_id = await peer.call(http2_peer.request(http2_peer.PROXY))
        for _ in range(20):
            await peer.say(frames.frame(frames.DATA, 0, stream_id, start))
            start = bytes(16_000)
        start = http2_peer.message(bytes(4 << 20))[:16_000]
    await asyncio.Event().wait()


async def dials(peer: HostilePeer) -> None:
    """Dial through an agent that does not answer, and to ports without a listener."""
    stream_id = await peer.call(http2_peer.request(http2_peer.PROXY, *EXTENDED))
    for number in itertools.count(1):
        address = "nowhere:1" if number % 10 else "127.0.0.1:1"
        await peer.send(stream_id, wire.dial_req(address, number))
        await asyncio.sleep(0.005)


async def silence(peer: HostilePeer) -> None:
    """Hold a connection with half a request."""
    await peer.say(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n")
    await asyncio.Event().wait()


async def lying_agent(peer: HostilePeer) -> None:
    """Register as an agent without identifiers, answer no dial, and send packets for others' connections and dials."""
    stream_id = await peer.call(http2_peer.agent("agent-1", ("agentidentifiers", "host=nowhere"), *EXTENDED))
    for number in itertools.count(1):
        lies = (data(number % 200, b"forged"), wire.dial_rsp(number, number), wire.reset(number % 200, 1, "x", 0, 0))
        await peer.send(stream_id, *lies)
        await asyncio.sleep(0.005)


ATTACKS: tuple[tuple[Attack, str], ...] = (
    (flood, "unix"),
    (flood, "agents"),
    (rapid_reset, "unix"),
    (header_bombs, "frontends"),
    (continuations, "unix"),
    (shut_windows, "unix"),
    (endless_messages, "unix"),
    (dials, "frontends"),
    (silence, "unix"),
    (lying_agent, "agents"),
)


async def attack(place: Any, what: Attack, where: str, cut: Counter[str]) -> None:
    """Run one hostile peer forever."""
    while True:
        with suppress(ConnectionError, ssl.SSLError, TimeoutError):
            peer = await http2_peer.connected(place, where)
            try:
                if what is not silence:
                    await peer.say()
                    await peer.hear(events.SettingsChanged)
                else:
                    peer.http2.take()
                await what(peer)
            finally:
                peer.close()
        cut[what.__name__] += 1
        await asyncio.sleep(AGAIN_S)


async def main(count: int, directory: str, agent_port: int, server_port: int) -> None:
    path = Path(directory)
    place = SimpleNamespace(
        socket=str(path / "frontend.sock"),
        path=lambda name: str(path / name),
        agent_port=agent_port,
        server_port=server_port,
    )
    cut: Counter[str] = Counter()
    attackers = itertools.islice(itertools.cycle(ATTACKS), count)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(attack(place, what, where, cut)) for what, where in attackers]
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()
    print(json.dumps(cut))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

"""The memory that sockets read into."""

import asyncio
import socket
import threading

import uvloop

from konnectivity import reading
from konnectivity.relay import Relay

SIZE = 300_000


def test_a_thread_has_one():
    assert reading.buffer().obj is reading.buffer().obj
    assert len(reading.buffer()) == reading.SIZE


def test_threads_do_not_share_it():
    other = []
    thread = threading.Thread(target=lambda: other.append(reading.buffer()))
    thread.start()
    thread.join()
    assert other[0].obj is not reading.buffer().obj


class _Link:
    """Keeps what a relay reads."""

    credit = 1 << 30
    paused = closed = False

    def __init__(self, ended: asyncio.Event) -> None:
        self.got = bytearray()
        self.ended = ended

    def local_data(self, data: bytes) -> None:
        self.got += data

    def local_end(self) -> None:
        self.ended.set()

    def local_lost(self, reason: str) -> None:
        self.ended.set()


def test_event_loops_of_two_threads_read_each_its_own():
    letters = (b"a", b"b")
    ours = dict.fromkeys(letters, b"")

    async def read(sock: socket.socket, letter: bytes) -> None:
        link = _Link(asyncio.Event())
        transport, relay = await asyncio.get_running_loop().create_connection(Relay, sock=sock)
        relay.attach(link)
        await asyncio.wait_for(link.ended.wait(), 30)
        transport.abort()
        ours[letter] = bytes(link.got)

    pairs = {letter: socket.socketpair() for letter in letters}
    threads = [threading.Thread(target=uvloop.run, args=(read(near, letter),)) for letter, (near, _) in pairs.items()]
    writers = [
        threading.Thread(target=lambda far=far, letter=letter: (far.sendall(letter * SIZE * 20), far.close()))
        for letter, (_, far) in pairs.items()
    ]
    for thread in threads + writers:
        thread.start()
    for thread in threads + writers:
        thread.join(30)
    assert ours == {letter: letter * SIZE * 20 for letter in letters}

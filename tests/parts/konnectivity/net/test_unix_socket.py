"""Paths of unix sockets: never taken from a live process, and removed only by their owner."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time

import pytest

from konnectivity.net.socket_listeners import ListenError, listen_unix
from konnectivity.net.unix_socket import bind_unix


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "frontend.sock")


async def bind(path, replace=True, takeover_timeout_s=5.0):
    return await bind_unix(path, replace, 10, takeover_timeout_s)


def reaches(path, bound):
    """Return whether a connection to the path reaches this socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        try:
            accepted, _ = bound.socket.accept()
        except BlockingIOError:
            return False
        accepted.close()
        return True


async def test_mode_and_end(path):
    bound = await bind(path)
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o770
    assert reaches(path, bound)
    bound.remove()
    bound.socket.close()
    assert not os.path.lexists(path)


async def test_a_socket_that_nobody_answers_on_is_replaced(path):
    (await bind(path)).socket.close()
    bound = await bind(path)
    assert reaches(path, bound)
    bound.socket.close()


async def test_a_socket_is_not_replaced_if_that_is_not_wanted(path):
    (await bind(path)).socket.close()
    with pytest.raises(OSError, match="Address already in use"):
        await bind(path, replace=False)
    assert os.path.lexists(path)


async def test_a_live_server_keeps_its_socket(path):
    first = await bind(path)
    with pytest.raises(OSError, match="another server answers there; stop it first, or choose another path"):
        await bind(path, takeover_timeout_s=0.3)
    with pytest.raises(ListenError, match=r"cannot listen on unix socket .* for tests: address already in use"):
        await listen_unix("tests", path, False, asyncio.Protocol)
    assert reaches(path, first) or reaches(path, first)  # the probe that `bind` sent may still be in the queue
    first.socket.close()


async def test_a_live_server_of_another_kind_of_socket_keeps_it(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(OSError, match="another server answers there"):
            await bind(path, takeover_timeout_s=0.0)


async def test_a_server_whose_queue_is_full_is_alive(path):
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        with pytest.raises(OSError, match="another server answers there"):
            await bind(path, takeover_timeout_s=0.0)


async def test_a_successor_waits_for_a_server_that_leaves(path):
    first = await bind(path)
    successor = asyncio.create_task(bind(path))
    await asyncio.sleep(0.3)
    assert not successor.done()
    first.mark_leaving()
    second = await asyncio.wait_for(successor, 5)
    assert reaches(path, second)
    first.remove()
    assert reaches(path, second)
    for each in (first, second):
        each.socket.close()


async def test_a_server_that_drains_is_replaced_at_once_and_takes_nothing_with_it(path):
    first = await bind(path)
    first.mark_leaving()
    assert reaches(path, first)
    began = time.monotonic()
    second = await bind(path)
    assert time.monotonic() - began < 1
    assert not first.is_ours
    assert second.is_ours
    first.mark_leaving()
    first.remove()
    first.socket.close()
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o770
    assert reaches(path, second)
    second.socket.close()


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_text("precious"), "an ordinary file"),
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: path.symlink_to("elsewhere"), "a symbolic link"),
        (os.mkfifo, "something that is no socket"),
    ],
    ids=["file", "directory", "link", "pipe"],
)
async def test_what_is_no_socket_is_left_alone(tmp_path, make, what, replace):
    path = tmp_path / "frontend.sock"
    make(path)
    before = os.lstat(path)
    text = f"there is {what} at this path; remove it, or choose another path" if replace else "address already in use"
    with pytest.raises(ListenError, match=f"cannot listen on unix socket '{path}' for tests: {text}"):
        await listen_unix("tests", str(path), replace, asyncio.Protocol)
    assert os.lstat(path).st_ino == before.st_ino
    assert not path.is_file() or path.read_text() == "precious"


async def test_of_servers_that_start_at_once_one_has_the_path(path):
    (await bind(path)).socket.close()
    found = await asyncio.gather(*(bind(path, takeover_timeout_s=0.3) for _ in range(5)), return_exceptions=True)
    bound = [each for each in found if not isinstance(each, OSError)]
    assert len(bound) == 1
    bound[0].socket.close()


async def test_a_directory_that_is_locked_by_another_program_is_no_obstacle(path):
    import fcntl

    lock = os.open(os.path.dirname(path), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    bound = await bind(path)
    bound.remove()
    bound.socket.close()
    os.close(lock)
    assert not os.path.lexists(path)

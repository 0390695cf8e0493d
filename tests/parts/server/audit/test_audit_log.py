"""Audit log file: its mode, rotation, and a disk that accepts nothing."""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

import pytest

from konnectivity.errors import DialError, DialFailure, StartError
from konnectivity.grpc.message_stream import Peer, PeerProcess
from konnectivity.runtime.logs.log_writer import MAX_LINES
from konnectivity_server.audit.audit_log import AuditLog

CLIENT = Peer("unix", None, PeerProcess(7, 1000, 1000))


def lines(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def leave(audit, destination="node:1"):
    audit.record(destination, "tcp", CLIENT, False).refused(DialError(DialFailure.NO_AGENT, "No agent available"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def audit(path):
    made = AuditLog(str(path), "server-1")
    yield made
    made.close()


def test_nobody_else_can_read_it(audit, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_keeps_its_mode(path):
    path.touch(0o640)
    path.chmod(0o640)
    AuditLog(str(path), "server-1").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_one_that_cannot_be_opened(tmp_path):
    with pytest.raises(StartError, match=r"--audit-log: cannot open .*: Is a directory"):
        AuditLog(str(tmp_path), "server-1")


def test_a_renamed_file_is_made_anew(audit, path, tmp_path):
    leave(audit, "before:1")
    until(path.read_text)
    moved = path.rename(tmp_path / "audit.log.1")
    leave(audit, "after:1")
    until(path.exists)
    until(path.read_text)
    assert [line["destination"] for line in lines(moved) + lines(path)] == ["before:1", "after:1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_client_says_stays_in_its_line(audit, path):
    leave(audit, 'x"}\n{"event": "dialled"}\u2028\x1b[2J')
    until(path.read_text)
    text = path.read_text()
    assert text.isascii()
    assert text.isprintable() is False  # the one line break at its end
    assert text.removesuffix("\n").isprintable()
    assert lines(path)[0]["destination"] == 'x"}\n{"event": "dialled"}\u2028\x1b[2J'


def test_a_disk_that_takes_nothing_holds_up_nobody_and_every_loss_is_told(tmp_path):
    """A named pipe acts as the disk: the test reads from it to make it full, empty and full again."""
    fifo = tmp_path / "audit.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    audit = AuditLog(str(fifo), "server-1")
    total, received = 0, b""

    def read():
        nonlocal received
        with suppress(BlockingIOError):
            received += os.read(reader, 1 << 20)
        return received

    try:
        for _ in range(2):
            dropped = audit.dropped
            while audit.dropped < dropped + 100:  # the pipe is full, so lines cannot be written
                began = time.monotonic()
                for _ in range(1000):
                    leave(audit)
                total += 1000
                assert time.monotonic() - began < 5, "the caller had to wait"
                time.sleep(0.02)
            while b'"event": "dropped", "lines": %d}' % audit.dropped not in read():  # the disk has room again
                leave(audit)
                total += 1
                time.sleep(0.02)
        written = [json.loads(line) for line in received.split(b"\n") if line.endswith(b"}") and line.startswith(b"{")]
        kept = sum(line["event"] == "refused" for line in written)
        assert audit.lines == total
        assert kept + audit.dropped >= total  # a batch that is cut short counts as lost
        assert kept < total
    finally:
        audit.close()
        os.close(reader)


def test_more_lines_than_may_wait_are_dropped_and_counted(audit):
    for _ in range(3 * MAX_LINES):
        leave(audit)
    assert audit.lines == 3 * MAX_LINES
    assert audit.dropped < audit.lines

"""Tests of `konnectivity top` beside real servers: one-shot output for programs, and live in a pseudo-terminal."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

TOP = [sys.executable, "-m", "konnectivity.tool.cli", "top", "--interval=300ms"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")
DEADLINE_S = 20.0


async def top(*arguments):
    process = await asyncio.create_subprocess_exec(
        *TOP, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        output, errors = await process.communicate()
    assert b"Traceback" not in errors
    return process.returncode, output.decode(), errors.decode()


async def test_once_for_programs_with_a_stall_and_a_failure(deployment):
    async with (
        listening(targets.source(1 << 30)) as endless,
        listening(targets.echo) as echo,
        connect(**deployment.frontend("grpc", unix=True)) as tunnel,
    ):
        await tunnel.dial(endless)
        reader, writer = await tunnel.dial(echo)
        with suppress(DialError):
            await tunnel.dial("127.0.0.1:9")

        async def talk():
            while True:
                writer.write(b"x" * 1000)
                await reader.readexactly(1000)
                await asyncio.sleep(0.01)

        talking = asyncio.Task(talk())
        end = time.monotonic() + DEADLINE_S
        while True:  # a connection counts as stalled after some seconds
            code, text, _ = await top(f"--admin=127.0.0.1:{deployment.admin_port}", "-o", "json")
            found = json.loads(text)
            if found["servers"][0]["stalled"] or time.monotonic() > end:
                break
        _, table, _ = await top(f"--admin=127.0.0.1:{deployment.admin_port}", "--once", "--sort=rate")
        talking.cancel()
    assert code == 0
    server = found["servers"][0]
    assert (server["server"], server["state"], server["agents"], server["stalled"]) == ("server-1", "ready", 1, 1)
    assert server["to_destination_per_s"] > 1000
    assert [each["agent"] for each in found["agents"]] == ["agent-1"]
    stalled, talking_one = found["connections"][:2]
    assert (stalled["destination"], stalled["stalled_side"]) == (endless, "client")
    assert (talking_one["destination"], talking_one["state"]) == (echo, "open")
    assert talking_one["to_per_s"] > 1000
    assert found["failed_dials"][0]["destination"] == "127.0.0.1:9"
    for part in ("1 server ", "1 stalled", "Agents", "agent-1", "Connections by rate", "Failed dials", echo):
        assert part in table


async def test_a_server_that_is_lost(deployment):
    here, nowhere = f"--admin=127.0.0.1:{deployment.admin_port}", f"--admin=127.0.0.1:{free_port()}"
    code, text, _ = await top(here, nowhere, "-o", "json")
    assert code == 1
    assert [each["state"] for each in json.loads(text)["servers"]] == ["ready", "lost"]
    code, text, _ = await top(here, nowhere, "--once")
    assert code == 1
    assert "2 servers, 1 LOST" in text
    assert "LOST for" in text
    code, text, _ = await top(nowhere, "--once")
    assert code == 2


@pytest.mark.parametrize("arguments", [["--interval=1ms"], ["--interval=x"], ["--timeout=0"]])
async def test_wrong_usage(arguments):
    code, _, errors = await top(*arguments)
    assert code == 2
    assert errors.startswith("konnectivity top: ")


class Terminal:
    """The tool in a pseudo-terminal of 140 columns and 40 lines."""

    def __init__(self, *arguments, columns=140):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [*TOP, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        self.raw = ""

    def wait_for(self, text):
        """Read until the text has been shown since the last call."""
        seen, end = "", time.monotonic() + DEADLINE_S
        while text not in ESCAPES.sub("", seen):
            assert time.monotonic() < end, f"no {text!r} in {ESCAPES.sub('', seen)[-3000:]}"
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                data = os.read(self.master, 65536).decode("utf-8", "replace")
                seen += data
                self.raw += data
        return ESCAPES.sub("", seen)

    def press(self, key):
        os.write(self.master, key.encode())

    def ended(self):
        """Return the exit code of the tool and whether the terminal's settings are restored."""
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.raw += os.read(self.master, 65536).decode("utf-8", "replace")
        while select.select([self.master], [], [], 0.05)[0]:
            self.raw += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.process.poll(), termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal():
    opened = []

    def start(*arguments, **how):
        opened.append(Terminal(*arguments, **how))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_live_with_its_keys(deployment, terminal):
    shown = terminal(f"--admin=127.0.0.1:{deployment.admin_port}")
    first = shown.wait_for("Connections by stalled")
    assert "server-1" in first
    assert "agent-1" in first
    shown.press("s")
    shown.wait_for("Connections by rate")
    shown.press("p")
    shown.wait_for("PAUSED")
    shown.press("p")
    shown.press("x")
    shown.press("q")
    assert shown.ended() == (0, True)
    assert "\x1b[?1049h" in shown.raw
    assert shown.raw.rindex("\x1b[?1049l") > shown.raw.rindex("Connections")
    assert "\x1b[?25h" in shown.raw[shown.raw.rindex("Connections") :]
    assert "Traceback" not in shown.raw


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_put_the_terminal_back(deployment, terminal, number, code):
    shown = terminal(f"--admin=127.0.0.1:{deployment.admin_port}")
    shown.wait_for("Connections by")
    shown.process.send_signal(number)
    assert shown.ended() == (code, True)
    assert "\x1b[?1049l" in shown.raw
    assert "Traceback" not in shown.raw


def test_a_server_goes_and_comes_back(fresh, terminal):
    server = fresh.start_server("--server-id=one")
    fresh.start_agent("--agent-id=node")
    shown = terminal(f"--admin=127.0.0.1:{fresh.admin_port}")
    shown.wait_for("ready")
    server.stop()
    lost = shown.wait_for("LOST for")
    assert "one (127.0.0.1:" in lost
    fresh.start_server("--server-id=two")
    shown.wait_for("two")
    shown.press("q")
    assert shown.ended() == (0, True)


def test_a_narrow_terminal_shows_what_matters(deployment, terminal):
    shown = terminal(f"--admin=127.0.0.1:{deployment.admin_port}", columns=80)
    text = shown.wait_for("Connections by stalled")
    assert "STALLED" in text
    assert "LAST SECONDS" not in text
    assert "…" not in text.partition("Agents")[0].partition("Servers")[2]

"""Tests of the tools in a terminal: no byte of a hostile agent or target has an effect on the terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from konnectivity import wire
from konnectivity.runtime import launcher
from konnectivity.wire import packet_types
from support import grpc_peer
from support.targets import listening

EVIL = "\x1b]0;title\x07\x1b]52;c;cm0=\x07\x1b[2J\x1b[1;31mevil\u202e\u2066\u200b\u2028\x9b2J\x7f\r\nforged: line"
RAW = (b"\x1b]0;", b"\x1b]52", b"\x1b[2J", b"\x07", b"\x7f", b"\r\nforged", b"\r\r\n")
RAW_TEXT = ("\u202e", "\u2066", "\u200b", "\u2028", "\x9b")
TOOL = [sys.executable, "-m", "konnectivity.tool.cli"]
DEADLINE_S = 20.0


def in_terminal(*arguments: str, until: bytes = b"") -> bytes:
    """Return what the tool writes to a terminal until it ends, or until `until` was written."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
    process = subprocess.Popen(
        [*TOOL, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    said, end = b"", time.monotonic() + DEADLINE_S
    with suppress(OSError):  # the tool has closed the terminal
        while time.monotonic() < end and not (until and until in said):
            if select.select([master], [], [], 0.1)[0]:
                said += os.read(master, 65536)
    process.kill()
    process.wait()
    os.close(master)
    return said


def check(said: bytes, shown: bytes = b"evil") -> None:
    assert said
    assert shown in said, said[-2000:]
    assert b"Traceback" not in said
    assert not [each for each in RAW if each in said], said
    assert not [each for each in RAW_TEXT if each.encode() in said], said


async def answer_badly(agent) -> None:
    """Refuse every dial of the server with a hostile text."""
    while True:
        with suppress(AssertionError):
            packet = await agent.hear(60)
            if packet.type == packet_types.DIAL_REQ:
                await agent.say(wire.dial_rsp(packet.dialRequest.random, 0, f"dial tcp: {EVIL}"))


@pytest.fixture
async def hostile(fresh):
    fresh.start_server("--mode=grpc,http-connect", "--proxy-strategies=destHost")
    fresh.start_agent("--agent-identifiers=ipv4=127.0.0.1")
    async with grpc_peer.agent(fresh, "evil-[bold red]x[/none]", "host=victim", metadata=grpc_peer.EXTENDED) as agent:
        answering = asyncio.Task(answer_badly(agent))
        yield fresh
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def test_tools_beside_a_hostile_agent(hostile):
    frontend, admin = f"unix:{hostile.socket}", f"127.0.0.1:{hostile.admin_port}"
    for arguments in (
        ("curl", "http://victim:80/", "--server", frontend),
        ("curl", "http://victim:80/", "--server", frontend, "--mode=grpc", "-v"),
        ("dial", "victim:80", "--server", frontend, "--verbose"),
        ("top", "--once", "--interval=300ms", "--admin", admin),
        ("top", "--once", "--interval=300ms", "--admin", admin, "-o", "json"),
        ("top", "--once", "--interval=300ms", "--admin", admin, "-o", "yaml"),
        ("explain-route", "victim:80", "--admin", admin),
        ("explain-route", "victim:80", "--admin", admin, "-o", "json"),
        ("doctor", "--frontend", frontend, "--dial", "victim:80"),
        ("doctor", "--admin", admin, "--expect-agent", f"node{EVIL}"),
    ):
        check(await asyncio.to_thread(in_terminal, *arguments))
    check(await asyncio.to_thread(in_terminal, "top", "--interval=300ms", "--admin", admin, until=b"evil\\u202e"))


def test_arguments_that_are_no_good():
    for arguments in (
        (EVIL,),
        ("dial", EVIL, "--server", "unix:/x"),
        ("curl", f"http://{EVIL}", "--server", "unix:/x"),
        ("curl", "http://x/", "--server", f"unix:/{EVIL}"),
        ("doctor", "--", "proxy-agent", f"--{EVIL}"),
        ("manifests", "agent", f"--{EVIL}"),
        ("egress-config", "validate", EVIL),
        ("pki", "check", EVIL),
    ):
        check(in_terminal(*arguments), b"")


@pytest.mark.parametrize("program", ["proxy-server", "proxy-agent"])
def test_flags_of_the_programs(program):
    result = subprocess.run([*launcher.command(program), f"--{EVIL}"], capture_output=True, check=False)
    assert result.returncode == 1
    check(result.stderr, b"unknown flag: --\\x1b]0;")


async def hostile_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = EVIL.encode() + b"\x00\xff\xfe caf\xc3"  # ends within a character
    head = b"HTTP/1.1 200 evil\x1b[2J\r\nX-Evil: \x1b]0;title\x07\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    writer.close()


async def test_a_hostile_page_in_a_terminal_and_in_a_pipe(hostile):
    frontend = f"unix:{hostile.socket}"
    async with listening(hostile_page) as address:
        for more in ((), ("-i",), ("-v",), ("-o", "json"), ("-o", "yaml")):
            said = await asyncio.to_thread(
                in_terminal, "curl", f"http://{address}/", "--server", frontend, "--fail", *more
            )
            assert b"evil" in said
            bad = [each for each in (*RAW[:5], b"\x00") if each in said]
            assert not bad, (more, said)
        process = await asyncio.create_subprocess_exec(
            *TOOL, "curl", f"http://{address}/", "--server", frontend, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert said == EVIL.encode() + b"\x00\xff\xfe caf\xc3", "a pipe gets every byte as it is"

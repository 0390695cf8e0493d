"""Log of a process whose outputs are slow, closed or not read."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import sys
from dataclasses import dataclass
from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import parse
@dataclass(frozen=True)
class Program(LogOptions):
    pass
parse(Program, sys.argv[1:], {}, "program").configure_log("program")
log = logs.get("program")
"""


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def run(code: str, *flags: str, **more: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", PROGRAM + code, *flags]
    return subprocess.run(arguments, text=True, timeout=30, check=False, **more)  # type: ignore[call-overload, no-any-return]


def test_the_last_lines_of_a_program_are_written(tmp_path: Path) -> None:
    result = run("for n in range(100): log.info(str(n))", "--skip-headers", capture_output=True)
    assert result.stderr.split() == [f'"{n}"' for n in range(100)]
    result = run("log.info('told'); raise ValueError('end')", "--skip-headers", capture_output=True)
    assert '"told"\n' in result.stderr
    assert "ValueError: end" in result.stderr


def test_a_program_whose_stderr_nobody_reads_goes_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = f"for n in range(20_000): log.info('x' * 100)\nopen({str(tmp_path / 'done')!r}, 'w').close()"
    code += "\nimport sys; sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM + code], stdin=subprocess.PIPE, stderr=writing)
    try:
        wait_until((tmp_path / "done").exists)
        process.communicate(timeout=10)  # the process ends and drops the remaining lines
        assert process.returncode == 0
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(reading)
        os.close(writing)


def test_a_program_without_stderr_goes_on() -> None:
    code = "log.info('x'); logs.flush(); print(logs.dropped())"
    result = run(code, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert (result.returncode, result.stdout) == (0, "0\n")


def test_a_program_that_may_write_nowhere_logs_to_stderr(tmp_path: Path) -> None:
    for flag in ("--log-dir=/proc", "--log-file=/proc/none/log", f"--log-file={tmp_path}"):
        result = run("log.info('told')", "--logtostderr=false", "--logging-format=json", flag, capture_output=True)
        lines = result.stderr.splitlines()
        assert "Cannot open the log file" in lines[0]
        assert '"msg": "told"' in lines[-1]


def narrow_pipe() -> tuple[int, int]:
    """Return the ends of a pipe of 4 KiB."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing


@pytest.mark.parametrize(
    "more",
    [
        "",
        "print('x' * 100_000, file=sys.stderr)",
        "raise ValueError('x' * 100_000)",
        "import warnings; warnings.warn('x' * 100_000)",
        "import threading; threading.Thread(target=lambda: 1 / 0).start()",
        "raise StartError('x' * 100_000)",
        "while True: await asyncio.sleep(1)",
    ],
)
def test_a_program_whose_stderr_nobody_reads_ends(more: str) -> None:
    """A program ends within 2 seconds although its last log lines, buffered or not, cannot be written."""
    code = (
        "import asyncio\nfrom konnectivity.runtime import lifecycle\nfrom konnectivity.errors import StartError\n"
        "async def main():\n"
        "    for n in range(5_000): log.info('x' * 100)\n"
        "    print('ready', flush=True)\n"
        f"    {more or 'pass'}\n"
        "    return 0\n"
        "sys.exit(lifecycle.run(main))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    reading, writing = narrow_pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code], stdout=subprocess.PIPE, stderr=writing, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if "while" in more:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)

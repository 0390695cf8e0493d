"""Standard error of a process."""

from __future__ import annotations

import subprocess
import sys

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


def run(code: str, *flags: str, **more: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", PROGRAM + code, *flags]
    return subprocess.run(arguments, text=True, timeout=30, check=False, **more)  # type: ignore[call-overload, no-any-return]


def test_what_is_said_on_stderr_is_written_before_a_program_ends() -> None:
    code = "from konnectivity.runtime.logs import error_stream; error_stream.install()\n"
    result = run(code + "print('one', 2, file=sys.stderr); raise ValueError('\\udcff')", capture_output=True)
    assert result.stderr.startswith("one 2\nTraceback")
    assert result.stderr.endswith("ValueError: \\udcff\n")

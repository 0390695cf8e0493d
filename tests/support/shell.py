"""Shell into which a test pastes the commands of a page, one block after the other.

Blocks of a page that are marked `bash` are to be pasted unchanged; others (`sh`, `yaml`) are only to be read.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK_TIMEOUT_S = 60.0
END_TIMEOUT_S = 5.0
_PASTED = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    """Return the blocks of a page that are to be pasted."""
    return _PASTED.findall(page.read_text())


class Shell:
    """Shell process: `with Shell(directory) as shell: shell.paste(block)`. Programs it started end with it.

    Args:
        directory: working directory of the shell.
        environment: variables that override those of this process.
        within: command that runs another one, for example (`unshare`, `--net`).
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str] | None = None, within: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [*within, "bash", "-eu", "-o", "pipefail"],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate(timeout=END_TIMEOUT_S)

    def paste(self, block: str) -> str:
        """Run the commands of a block and return their output.

        Raises:
            RuntimeError: a command failed or took too long; the error has the block and its output.
        """
        self._count += 1
        mark = f"-- end of block {self._count} --\n".encode()
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the shell has no pipes")
        stdin.write(block.encode() + b"\nprintf '%s' '" + mark + b"'\n")
        stdin.flush()
        output, end = b"", time.monotonic() + BLOCK_TIMEOUT_S
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not output.endswith(mark):
                ready = selector.select(max(0.0, end - time.monotonic()))
                data = os.read(stdout.fileno(), 65536) if ready else b""
                output += data
                if not data:
                    why = "the shell ended" if ready else f"no end within {BLOCK_TIMEOUT_S:g} s"
                    raise RuntimeError(f"{why}:\n{block}\n{output.decode(errors='replace')}")
        return output.removesuffix(mark).decode()

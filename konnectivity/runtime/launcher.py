"""One file, three programs: finds the one a command line names, and starts it. The images and the zipapp begin here.

Imports nothing of the programs before it is known which one is wanted; ends on a signal that comes meanwhile.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import PurePath
from zipimport import zipimporter

_SERVER = "konnectivity_server.server_main"
_AGENT = "konnectivity_agent.agent_main"
_TOOL = "konnectivity.tool.cli.main"
_MODULES = {
    "proxy-server": _SERVER,
    "konnectivity-server": _SERVER,  # as k0s calls it
    "proxy-agent": _AGENT,
    "konnectivity-agent": _AGENT,
}


def choose(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The module of the program, and its arguments: by the name it was called, else by the first argument.

    What names neither server nor agent is a command line of the `konnectivity` tool.
    """
    names = [PurePath(argv[0]).name, *argv[1:2]]
    for skipped, name in enumerate(names):
        if name in _MODULES:
            return _MODULES[name], list(argv[1 + skipped :])
    return _TOOL, list(argv[2:] if names[1:] == ["konnectivity"] else argv[1:])


def main() -> None:
    """Become the program that `sys.argv` names; does not return."""
    module, arguments = choose(sys.argv)
    if module != _TOOL:
        _end_on_signal()
    importlib.import_module(module).main(arguments)


def command(program: str) -> list[str]:
    """The beginning of a command line that starts one of the three from the same files as this program."""
    if isinstance(__spec__.loader, zipimporter):
        return [sys.executable, "-IB", os.path.realpath(__spec__.loader.archive), program]
    return [sys.executable, "-c", "from konnectivity.runtime.launcher import main; main()", program]


def _end_on_signal() -> None:
    """Until the program listens itself: process 1 of a container does not get a signal that it has no handler for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))

"""Launcher of the three programs: selects one by the command line and starts it. The images and the zipapp start here.

Imports no program before the selection. Until the program handles signals itself, SIGTERM and SIGINT end the process.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from zipimport import zipimporter

_SERVER = "konnectivity_server.server_main"
_AGENT = "konnectivity_agent.agent_main"
_TOOL = "konnectivity.tool.cli.main"
_FORWARD = "konnectivity.forward.forward_main"
_HYPERSHIFT = "konnectivity.forward.hypershift_main"
_MODULES = {
    "proxy-server": _SERVER,
    "konnectivity-server": _SERVER,  # the name that k0s uses
    "proxy-agent": _AGENT,
    "konnectivity-agent": _AGENT,
    "konnectivity-socks5-proxy": _HYPERSHIFT,
    "konnectivity-https-proxy": _HYPERSHIFT,
}


def choose(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the module of the program and its arguments, selected by the name of the command or the first argument.

    Every other name selects the `konnectivity` tool, or the program that its command `forward` is.
    """
    names = [os.path.basename(argv[0]), *argv[1:2]]
    for skipped, name in enumerate(names):
        if name in _MODULES:
            words = list(argv[1 + skipped :])
            return _MODULES[name], [name, *words] if _MODULES[name] == _HYPERSHIFT else words
    words = list(argv[2:] if names[1:] == ["konnectivity"] else argv[1:])
    return (_FORWARD, words[1:]) if words[:1] == ["forward"] else (_TOOL, words)


def main() -> None:
    """Run the program that `sys.argv` names until it ends."""
    module, arguments = choose(sys.argv)
    if module != _TOOL:
        _end_on_signal()
    importlib.import_module(module).main(arguments)


def command(program: str) -> list[str]:
    """Return the beginning of a command line that starts `program` from the same files as this process."""
    loader: object = __spec__.loader
    if isinstance(loader, zipimporter):
        return [sys.executable, "-IB", os.path.realpath(loader.archive), program]
    return [sys.executable, "-c", "from konnectivity.runtime.launcher import main; main()", program]


def _end_on_signal() -> None:
    """End the process on SIGTERM or SIGINT: the kernel does not deliver a signal without a handler to process 1."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))

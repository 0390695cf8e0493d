"""Declaration of `konnectivity forward` in the list of commands. The command is a program of its own.

`main` starts that program before any command is loaded, and its options are declared in
`konnectivity.forward.forward_options`; the parser here only has its name.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]

NAME = "forward"
SUMMARY = "run a SOCKS5 and HTTP proxy for programs of the control plane"


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(NAME, help=SUMMARY, description="Run the forward proxy.")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the program without options, which prints what it needs."""
    from konnectivity.forward import forward_main

    forward_main.main([])
    return 0

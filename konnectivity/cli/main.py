"""Entry point of the `konnectivity` tool: finds the command and runs it."""

from __future__ import annotations

import sys

from konnectivity import __version__, standard_streams
from konnectivity.cli import (
    curl,
    demo,
    dial,
    doctor,
    egress_config,
    explain,
    explain_route,
    kubeconfig,
    manifests,
    pki,
    top,
)
from konnectivity.cli.parser import Parser, misplaced_program
from konnectivity.cli.plain_stream import plain_streams


def main(argv: list[str] | None = None) -> None:
    """Console script `konnectivity`."""
    parser = Parser(prog="konnectivity", description="Tools for Konnectivity tunnels.")
    parser.add_argument("--version", action="version", version=f"konnectivity {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    # As one meets them: try it, set it up, use it, find out what is wrong.
    for command in (demo, pki, kubeconfig, egress_config, manifests, dial, curl, top, doctor, explain, explain_route):
        command.add_to(commands)
    with standard_streams.checked("konnectivity"), plain_streams():
        words = sys.argv[1:] if argv is None else argv
        if problem := misplaced_program(words):
            parser.error(problem)
        arguments = parser.parse_args(words)
        try:
            sys.exit(arguments.run(arguments))
        except KeyboardInterrupt:
            sys.exit(130)

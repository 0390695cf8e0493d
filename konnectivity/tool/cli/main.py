"""Entry point of the `konnectivity` tool: selects a command and runs it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from konnectivity.runtime import launcher, standard_streams
from konnectivity.runtime.build_kind import version_line

if TYPE_CHECKING:
    from konnectivity.tool.cli.argument_parser import Parser


def command_parser() -> Parser:
    """Return the parser of all commands. They are loaded here: `forward`, a program of its own, runs without them."""
    from konnectivity.forward import forward_command
    from konnectivity.tool.cli import (
        completion,
        curl_command,
        demo_command,
        dial_command,
        doctor_command,
        egress_config_command,
        explain_command,
        explain_route_command,
        kubeconfig_command,
        manifests_command,
        pki_command,
        top_command,
    )
    from konnectivity.tool.cli.argument_parser import Parser
    from konnectivity.tool.tenants import tenants_command

    parser = Parser(prog="konnectivity", description="Tools for Konnectivity tunnels.")
    parser.add_argument("--version", action="version", version=version_line("konnectivity"))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    # In the order in which a person needs the commands: try, set up, use, find faults.
    for command in (
        demo_command,
        pki_command,
        kubeconfig_command,
        egress_config_command,
        manifests_command,
        dial_command,
        curl_command,
        forward_command,
        top_command,
        tenants_command,
        doctor_command,
        explain_command,
        explain_route_command,
    ):
        command.add_to(commands)
    completion.add_to(commands, parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run the console script `konnectivity`."""
    words = sys.argv[1:] if argv is None else argv
    module, rest = launcher.choose(["konnectivity", *words])
    if module.startswith("konnectivity.forward."):  # a program of its own, which needs no command of the tool
        importlib.import_module(module).main(rest)
    from konnectivity.tool.cli.argument_parser import misplaced_program
    from konnectivity.tool.cli.plain_stream import plain_streams

    parser = command_parser()
    with standard_streams.checked("konnectivity"), plain_streams():
        if problem := misplaced_program(words):
            parser.error(problem)
        arguments = parser.parse_args(words)
        try:
            sys.exit(arguments.run(arguments))
        except KeyboardInterrupt:
            sys.exit(130)

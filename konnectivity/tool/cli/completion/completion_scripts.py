"""Declaration and run of `konnectivity completion SHELL`, which prints a completion script for all three programs."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from konnectivity.forward import forward_command
from konnectivity.tool.cli.completion.bash_script import bash_script
from konnectivity.tool.cli.completion.command_words import CommandWord, program_words, tool_words
from konnectivity.tool.cli.completion.fish_script import fish_script
from konnectivity.tool.cli.completion.zsh_script import zsh_script

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]

SCRIPTS: dict[str, Callable[[Sequence[CommandWord]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}


def add_to(commands: Commands, tool: argparse.ArgumentParser) -> None:
    """Declare the command; `tool` is the parser of all commands."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Print a script that completes the commands and options of konnectivity, proxy-server and "
        "proxy-agent. Example: source <(konnectivity completion bash)",
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), metavar="SHELL", help="Shell: bash, zsh or fish.")
    parser.set_defaults(run=functools.partial(run, tool))


def run(tool: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run the command and return 0."""
    sys.stdout.write(SCRIPTS[arguments.shell](all_programs(tool)))
    return 0


def all_programs(tool: argparse.ArgumentParser, ineffective: bool = False) -> list[CommandWord]:
    """Return the words of the tool, of proxy-server and of proxy-agent, also with options that have no effect."""
    from konnectivity.forward import forward_main  # imported late: other commands start faster without the programs
    from konnectivity.forward.forward_options import ForwardOptions
    from konnectivity_agent import agent_main
    from konnectivity_agent.agent_options import AgentOptions
    from konnectivity_server import server_main
    from konnectivity_server.server_options import ServerOptions

    words = tool_words(tool, ("konnectivity",))
    forward = ("konnectivity", forward_command.NAME)
    made = program_words(forward, ForwardOptions, forward_main.DESCRIPTION, ineffective, forward_command.SUMMARY)
    commands = tuple(made if each.words == forward else each for each in words.commands)
    return [
        replace(words, commands=commands),
        program_words(("proxy-server",), ServerOptions, server_main.DESCRIPTION, ineffective),
        program_words(("proxy-agent",), AgentOptions, agent_main.DESCRIPTION, ineffective),
    ]

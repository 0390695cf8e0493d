"""Server and agent as `explain` and `doctor` see them: the program of an argument list, and its options.

The programs' declarations are imported when they are needed: other commands do not pay for them.
"""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from konnectivity.runtime.options import HelpRequested, read
from konnectivity.runtime.options.value_checks import Check, existing_file

if TYPE_CHECKING:
    from konnectivity_agent.agent_options import AgentOptions
    from konnectivity_server.server_options import ServerOptions

SERVER, AGENT = "proxy-server", "proxy-agent"
PROGRAMS = (SERVER, AGENT)


@dataclass(frozen=True, slots=True)
class Program:
    """Program, proxy-server or proxy-agent, with its arguments."""

    name: str
    arguments: tuple[str, ...]

    def server(self, without: Container[Check] = ()) -> tuple[ServerOptions, list[str]]:
        """Return the options of proxy-server and the errors in them. Only valid for proxy-server."""
        from konnectivity_server.server_options import ServerOptions

        return read(ServerOptions, self.arguments, os.environ, without)

    def agent(self, without: Container[Check] = ()) -> tuple[AgentOptions, list[str]]:
        """Return the options of proxy-agent and the errors in them. Only valid for proxy-agent."""
        from konnectivity_agent.agent_options import AgentOptions

        return read(AgentOptions, self.arguments, os.environ, without)


def split(words: Sequence[str]) -> list[Program]:
    """Split a command line into programs with their arguments: `proxy-agent --a=b proxy-server --c=d`.

    Raises:
        ValueError: the arguments fit neither program, or both.

    """
    found: list[tuple[str, list[str]]] = []
    for word in words:
        name = word.rpartition("/")[2]
        if name in PROGRAMS:
            found.append((name, []))
        elif word != "--":
            if not found:
                found.append(("", []))
            found[-1][1].append(word)
    return [Program(name or _guessed(arguments), tuple(arguments)) for name, arguments in found]


def _guessed(arguments: Sequence[str]) -> str:
    """Return the program that declares more of these flags."""
    unknown = {name: _unknown(name, arguments) for name in PROGRAMS}
    best = min(PROGRAMS, key=lambda name: unknown[name])
    if len(set(unknown.values())) == 1:
        raise ValueError(f"write {' or '.join(PROGRAMS)} before the arguments: they fit both, or neither")
    return best


def _unknown(name: str, arguments: Sequence[str]) -> int:
    program = Program(name, tuple(arguments))
    without = (existing_file,)
    try:
        _, problems = program.server(without) if name == SERVER else program.agent(without)
    except HelpRequested:
        return 0
    return sum(each.startswith("unknown") for each in problems)

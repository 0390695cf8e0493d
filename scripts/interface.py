"""Print what a release promises as JSON: flags, commands of the tool, names and signatures of the client library.

    .venv/bin/python scripts/interface.py > tests/repository/releases/VERSION.json     # with each release

tests/repository/test_promises.py compares later versions with the file.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

from konnectivity import client
from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.net.hop_timings import HopTimings
from konnectivity.runtime.options import Options, declared
from konnectivity.tool.cli.main import command_parser
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions

_INHERITED = ("args", "with_traceback", "add_note")  # of every exception, and of str, the base of DialFailure


def main() -> None:
    json.dump(interface(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


def interface() -> dict[str, Any]:
    return {
        "flags": {
            "proxy-server": _flags(ServerOptions),
            "proxy-agent": _flags(AgentOptions),
            "konnectivity forward": _flags(ForwardOptions),
        },
        "commands": {name: _options(parser) for name, parser in _commands(command_parser(), "konnectivity")},
        "client": dict(sorted(_client())),
    }


def _flags(options: type[Options]) -> dict[str, Any]:
    """Return for each flag the kind of its value, its other names and its environment variables."""
    return {
        each.flag: {"kind": each.kind.name, "names": sorted(each.long_names + each.aliases), "env": each.variables}
        for each in declared(options)
    }


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command of the tool with its words, and its parser."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, each in action.choices.items():
                yield from _commands(each, f"{name} {word}")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return sorted(name for action in parser._actions for name in action.option_strings)


def _client() -> Iterator[tuple[str, str]]:
    """Yield every name of the client library with its signature, or with its value if it is a constant."""
    for name in client.__all__:
        found = getattr(client, name)
        if inspect.isclass(found):
            yield from _members(name, found)
        else:
            yield name, str(inspect.signature(found)) if inspect.isfunction(found) else repr(found)
    yield from _members("HopTimings", HopTimings)


def _members(name: str, found: type) -> Iterator[tuple[str, str]]:
    yield name, "class"
    own = vars(found) if issubclass(found, BaseException | str) else dict(inspect.getmembers(found))
    for member, value in own.items():
        if not member.startswith("_") and member not in _INHERITED:
            signature = str(inspect.signature(value)) if inspect.isfunction(value) else "attribute"
            yield f"{name}.{member}", signature


if __name__ == "__main__":
    main()

"""Command-line parser of the tool: argparse, with errors that suggest the intended argument."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from konnectivity.tool.cli.programs import PROGRAMS
from konnectivity.untrusted.untrusted_text import visible

MAX_MESSAGE = 8 * 1024  # characters of an error
_INVALID = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)", re.DOTALL)
_REQUIRED = "the following arguments are required"
_TAKE_A_PROGRAM = ("doctor", "explain")


class Parser(argparse.ArgumentParser):
    """Parser of the tool and, by argparse's rule, of each of its commands."""

    def error(self, message: str) -> NoReturn:
        """Print the error on stderr, and the list of commands if none was given; exit with code 2."""
        if self._subparsers is not None and message.startswith(_REQUIRED):
            self.print_help(sys.stderr)
            self.exit(2, f"\n{self.prog}: error: a command is needed\n")
        invalid = _INVALID.search(message)
        near = difflib.get_close_matches(invalid[1], re.findall(r"[\w-]+", invalid[2]), 1) if invalid else []
        hint = f"; did you mean {near[0]}?" if near else ""
        super().error(visible(message, MAX_MESSAGE) + hint)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Return the value of an argument; argparse alone turns the `--` of `--option=--` into an empty list."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)


def misplaced_program(words: Sequence[str]) -> str:
    """Return an error about a program's arguments that do not follow `--`, or "" if every such argument does."""
    command = next((word for word in words if not word.startswith("-")), "")
    if command not in _TAKE_A_PROGRAM:
        return ""
    rest = words[words.index(command) + 1 :]
    for at, word in enumerate(rest):
        if word == "--":
            return ""
        # Whether the word is the value of the option before it.
        value = at > 0 and rest[at - 1].startswith("-") and "=" not in rest[at - 1]
        if word.rpartition("/")[2] in PROGRAMS and not value and any(each.startswith("-") for each in rest[at + 1 :]):
            return (
                f"the arguments of {word} stand behind --, so that they are not taken for those of {command}: "
                f"konnectivity {' '.join([command, *rest[:at]])} -- {word} {rest[at + 1]} ..."
            )
    return ""

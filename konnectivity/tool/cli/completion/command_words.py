"""Words of all three programs, from the declarations of options: commands, options, and the values that each takes.

Knows no shell. The man pages are made from the same words (scripts/man_pages.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from konnectivity.runtime.options import Option, Options, declared
from konnectivity.runtime.options.value_checks import OneOf

_PATHS = ("file", "path", "directory", "dir", "file:line")


@dataclass(frozen=True, slots=True)
class OptionWord:
    """Option of a command: its names with their dashes, its help, and the value that it takes.

    Attributes:
        value: word for the value, empty if the option takes none.
        choices: the values that the option accepts, empty if any.
        optional: whether the value is only given behind `=`, as that of a switch is.

    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False
    default: str = ""

    @property
    def takes_path(self) -> bool:
        """Return whether the value is the path of a file or a directory."""
        return self.value.lower() in _PATHS


@dataclass(frozen=True, slots=True)
class CommandWord:
    """Program, or command of the tool, with all words before it: ("konnectivity", "egress-config", "validate").

    Attributes:
        summary: its line in the list of commands, empty for a program.

    """

    words: tuple[str, ...]
    help: str
    options: tuple[OptionWord, ...]
    commands: tuple[CommandWord, ...] = ()
    summary: str = ""

    def all(self) -> Iterator[CommandWord]:
        """Yield this command and every command below it."""
        yield self
        for each in self.commands:
            yield from each.all()


HELP = OptionWord(("-h", "--help"), "Show this text.")
VERSION = OptionWord(("--version",), "Show version and build.")


def program_words(
    words: tuple[str, ...], options: type[Options], description: str, ineffective: bool, summary: str = ""
) -> CommandWord:
    """Return the words of a program with declared options, with `ineffective` also the options without an effect.

    Hidden and deprecated options are left out.
    """
    visible = [each for each in declared(options) if not (each.hidden or each.deprecated)]
    shown = [each for each in visible if ineffective or not each.instead]
    return CommandWord(words, description, (*map(_option_word, shown), HELP, VERSION), (), summary)


def _option_word(each: Option) -> OptionWord:
    names = (f"--{each.flag}", *(f"-{alias}" for alias in each.aliases if len(alias) == 1))
    choices = each.check.allowed if isinstance(each.check, OneOf) else ()
    if each.kind.bare is not None:
        choices = ("true", "false")
    default = each.kind.write(each.default) if each.default else ""
    value = each.metavar or each.kind.name
    text = f"{each.help} No effect here: {each.instead}.".lstrip() if each.instead else each.help
    return OptionWord(names, text, value, tuple(filter(None, choices)), each.kind.bare is not None, default)


def tool_words(parser: argparse.ArgumentParser, words: tuple[str, ...], summary: str = "") -> CommandWord:
    """Return the words of the tool's parser, or of the parser of one of its commands."""
    options, commands = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            commands += [tool_words(each, (*words, word), helps.get(word, "")) for word, each in action.choices.items()]
        elif not action.option_strings:  # an argument with choices is completed as a command without options
            commands += [CommandWord((*words, str(choice)), "", ()) for choice in action.choices or ()]
        elif action.help != argparse.SUPPRESS:
            options.append(_action_word(parser, action))
    return CommandWord(words, parser.description or summary, tuple(options), tuple(commands), summary)


def _action_word(parser: argparse.ArgumentParser, action: argparse.Action) -> OptionWord:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    if action.nargs == 0:
        return OptionWord(tuple(action.option_strings), text)
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return OptionWord(tuple(action.option_strings), text, metavar, tuple(map(str, action.choices or ())))

"""Command line in the dialect of Go's pflag: finds the flags in the arguments. Does not interpret their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from konnectivity.runtime.options.declarations import Option


class UsageError(Exception):
    """Error in the options of a program; `problems` has one text per mistake."""

    def __init__(self, problems: list[str], program: str = "") -> None:
        super().__init__(f"{program}: {'; '.join(problems)}" if program else "; ".join(problems))
        self.problems = problems


class HelpRequested(Exception):
    """Request for the help text by `-h` or `--help`."""


class VersionRequested(HelpRequested):
    """Request for the version by `--version`."""


@dataclass(frozen=True, slots=True)
class Given:
    """Value as it was written, and its source.

    Attributes:
        text: the value.
        where: the source for an error text.
        source: the source in one or two words.

    """

    text: str
    where: str
    source: str

    def invalid(self, why: object) -> str:
        """Return the error text for a value that cannot be used."""
        return f'invalid argument "{self.text}" for {self.where}: {why}'


class CommandLine:
    """Arguments of a program.

    Attributes:
        found: values by field.
        problems: error texts.
        words: arguments that are neither flags nor their values.

    """

    def __init__(self, options: Iterable[Option], argv: Sequence[str]) -> None:
        self.found: dict[str, list[Given]] = {}
        self.problems: list[str] = []
        self.words: list[str] = []
        self._rest = iter(argv)
        declared = list(options)
        self._longs = {name: each for each in declared for name in each.long_names}
        self._shorts = {alias: each for each in declared for alias in each.aliases if len(alias) == 1}

    def read(self) -> None:
        """Read all arguments.

        Raises:
            HelpRequested: `-h`, `--help` or (`VersionRequested`) `--version` is among them.

        """
        for argument in self._rest:
            if argument == "--":
                self.words += self._rest
                return
            if argument.startswith("--"):
                self._long(argument)
            elif argument.startswith("-") and argument != "-":
                self._short(argument)
            else:  # the reference ignores such arguments, so manifests may have some
                self.words.append(argument)

    def _long(self, argument: str) -> None:
        name, equals, text = argument[2:].partition("=")
        found = self._longs.get(name)
        if found:
            self._take(found, f"--{name}", text if equals else found.kind.bare)
        elif name == "help":
            raise HelpRequested
        elif name == "version":
            raise VersionRequested
        elif not name or name.startswith("-"):
            self.problems.append(f"bad flag syntax: {argument}")
        else:
            self._unknown(name)

    def _short(self, argument: str) -> None:
        letters = argument[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            found = self._shorts.get(letter)
            if found is None:
                if letter == "h":
                    raise HelpRequested
                self.problems.append(f"unknown shorthand flag: {letter!r} in {argument}")
                return
            text = found.kind.bare
            if letters.startswith("="):
                text, letters = letters[1:], ""
            elif text is None and letters:
                text, letters = letters, ""
            self._take(found, f"-{letter}", text)

    def _take(self, found: Option, spelled: str, text: str | None) -> None:
        if text is None:  # the value is the next argument, even if that looks like a flag
            text = next(self._rest, None)
        if text is None:
            self.problems.append(f"flag needs an argument: {spelled}")
        else:
            self.found.setdefault(found.field, []).append(Given(text, f'"{spelled}" flag', f"flag {spelled}"))

    def _unknown(self, name: str) -> None:
        near = nearest(name, self._longs)
        self.problems.append(f"unknown flag: --{name}" + (f"; did you mean --{near}?" if near else ""))


def nearest(name: str, options: Mapping[str, Option]) -> str | None:
    """Return the name in `options` most similar to `name`, or None; hidden and deprecated names are not offered."""
    from difflib import get_close_matches  # loaded for a mistake only: it takes memory

    hidden = {
        name for name, each in options.items() if each.hidden or each.deprecated or name in each.deprecated_aliases
    }
    return next(iter(get_close_matches(name, options.keys() - hidden, 1, 0.7)), None)

"""Completion script for fish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from konnectivity.tool.cli.completion.command_words import CommandWord, OptionWord

_HEAD = "# Completion of konnectivity, proxy-server and proxy-agent for fish: konnectivity completion fish | source"


def fish_script(programs: Sequence[CommandWord]) -> str:
    """Return the script."""
    lines = [_HEAD]
    for program in programs:
        for command in program.all():
            lines += _lines(command)
    return "\n".join(lines) + "\n"


def _lines(command: CommandWord) -> Iterator[str]:
    program, *words = command.words
    if not words:
        yield f"complete -c {program} -f"
    seen = [f"__fish_seen_subcommand_from {word}" for word in words]
    names = " ".join(each.words[-1] for each in command.commands)
    if names:
        seen.append(f"not __fish_seen_subcommand_from {names}")
    head = f"complete -c {program}" + (f" -n '{'; and '.join(seen)}'" if seen else "")
    for each in command.commands:
        yield f"{head} -a {each.words[-1]} -d {_quoted(each.summary)}"
    for option in command.options:
        yield f"{head} {_option(option)}"


def _option(option: OptionWord) -> str:
    parts = [f"-s {name[1:]}" if len(name) == 2 else f"-l {name[2:]}" for name in option.names]
    if option.value and not option.optional:
        parts.append("-r -F" if option.takes_path else "-x")
    if option.choices:
        parts.append(f"-a '{' '.join(option.choices)}'")
    return " ".join([*parts, "-d", _quoted(option.help)])


def _quoted(text: str) -> str:
    """Return the first sentence of a text as a word of fish."""
    first = text.partition(". ")[0].rstrip(".")
    return "'" + first.replace("\\", "\\\\").replace("'", "\\'") + "'"

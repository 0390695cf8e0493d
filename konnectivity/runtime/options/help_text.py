"""Texts about options for people: `--help`, the reference page, the options in force, warnings."""

from __future__ import annotations

from collections.abc import Iterable

from konnectivity.runtime.options.declarations import ENVIRONMENT_PREFIX, Option, Options, declared
from konnectivity.runtime.options.value_kinds import STRING, STRINGS, WORDS

WIDTH = 100
_HELP_COLUMN = 40
_WITHOUT_EFFECT = "Accepted without effect"


def _shown_default(each: Option) -> str:
    """Return the default as `--help` shows it; empty for an empty text, zero and false."""
    text = each.kind.write(each.default) if each.default else ""
    return f'"{text}"' if text and each.kind is STRING else text


def _usage_entry(each: Option) -> list[str]:
    shorts = [alias for alias in each.aliases if len(alias) == 1]
    head = f"  -{shorts[0]}, " if shorts else "      "
    head += f"--{each.flag}" + ("" if each.kind.bare else f" {each.metavar or each.kind.name}")
    notes = []
    if default := _shown_default(each):
        notes.append(f"default {default}")
    if each.env:
        notes.append(f"environment {each.env}")
    if each.instead:
        notes.append(f"no effect here: {each.instead}")
    text = f"{each.help} ({', '.join(notes)})".lstrip() if notes else each.help
    import textwrap  # loaded for a help text only: it takes memory

    # A long head gets a line of its own; a short one precedes the first line of the help.
    alone = [head] if len(head) > _HELP_COLUMN - 2 else []
    first = " " * _HELP_COLUMN if alone else f"{head:{_HELP_COLUMN}}"
    rest = " " * _HELP_COLUMN
    wrapped = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return alone + wrapped


def _grouped(options: Iterable[Option]) -> dict[str, list[Option]]:
    """Return the options by group. The groups stand in the order in which their last options are declared."""
    groups: dict[str, list[Option]] = {}
    for each in options:
        name = _WITHOUT_EFFECT if each.instead else each.group or "Flags"
        groups[name] = [*groups.pop(name, []), each]
    return groups


def usage(cls: type[Options], program: str, description: str) -> str:
    """Return the text of `--help`."""
    import textwrap

    lines = [*textwrap.wrap(description, WIDTH), "", "Usage:", f"  {program} [flags]"]
    for group, options in _grouped(o for o in declared(cls) if not (o.hidden or o.deprecated)).items():
        lines += ["", f"{group}:"]
        for each in options:
            lines += _usage_entry(each)
    lines += ["", "Help:", f"{'  -h, --help':{_HELP_COLUMN}}Show this text."]
    lines += [f"{'      --version':{_HELP_COLUMN}}Show version and build (compiled or pure Python)."]
    lines += ["", f"Instead of --some-flag, the environment variable {ENVIRONMENT_PREFIX}SOME_FLAG may be set,"]
    lines += ["or a line `some-flag: value` be in the YAML file that --config names."]
    return "\n".join(lines) + "\n"


def markdown(cls: type[Options], program: str) -> str:
    """Return the reference page: a table row for every option, with hidden and deprecated ones."""
    lines = [f"## {program}"]
    for group, options in _grouped(declared(cls)).items():
        lines += ["", f"### {group}", "", "| Flag | Value | Default | Meaning |", "|---|---|---|---|"]
        lines += [_markdown_row(each) for each in options]
    return "\n".join(lines) + "\n"


def _markdown_row(each: Option) -> str:
    names = [f"`--{each.flag}`"] + [f"`{'-' if len(alias) == 1 else '--'}{alias}`" for alias in each.aliases]
    default = each.kind.write(each.default)
    meaning = each.help
    if each.env:
        meaning += f" Environment: `{each.env}`."
    if each.instead:
        meaning += f" No effect here: {each.instead}."
    if each.deprecated:
        meaning += f" Deprecated: {each.deprecated}."
    for alias in each.deprecated_aliases:
        meaning += f" Deprecated name: `--{alias}`."
    cells = [", ".join(names), each.metavar or each.kind.name, f"`{default}`" if default else "", meaning.strip()]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def effective(options: Options) -> str:
    """Return all values in force as a file for `--config`, each with its source as a comment."""
    lines = []
    for each in declared(type(options)):
        if not each.deprecated and each.field not in ("config", "check_config"):
            value = getattr(options, each.field)
            text = each.kind.write(value)
            if each.kind is STRINGS:
                text = f"[{', '.join(map(_quoted, value))}]"
            elif each.kind in (STRING, WORDS):
                text = _quoted(text)
            lines.append(f"{each.flag}: {text}  # {options.sources.get(each.field, 'default')}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return a text as a YAML string in ASCII."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if " " <= each <= "~" else f"\\U{ord(each):08x}" for each in text) + '"'


def notices(options: Options) -> list[str]:
    """Return a line for each option that was set and has no effect, with its replacement."""
    used = [each for each in declared(type(options)) if each.instead and options.given(each.field)]
    return [f"--{each.flag} has no effect here: {each.instead}" for each in used]


def deprecations(options: Options) -> list[str]:
    """Return a line for each deprecated option or name that was used."""
    lines = []
    for each in declared(type(options)):
        if each.deprecated and options.given(each.field):
            lines.append(f"Flag --{each.flag} has been deprecated, {each.deprecated}")
        if (name := options.sources.get(each.field, "").removeprefix("flag --")) in each.deprecated_aliases:
            lines.append(f"Flag --{name} has been deprecated, use --{each.flag}")
    return lines


def doubts(options: Options) -> list[str]:
    """Return a warning for each value or argument that is probably a mistake."""
    words = [
        f"argument {word!r} is ignored: it is neither a flag nor the value of one (write a switch as --flag=false)"
        for word in options.words
    ]
    return [f"Warning: {line}" for line in (*words, *options.doubts())]

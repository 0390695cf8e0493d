"""Options of a program: one declaration each, read from the command line and the environment.

A program declares a frozen dataclass derived from `Options`; every field made by `option()` is a flag, an environment
variable, a line of `--help` and a row of docs/options.md. The command line is read in the dialect of Go's pflag,
because manifests and launchers written for the Go programs are passed to ours unchanged.

This module knows no option of any program, and nothing about what the values are used for.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Chosen = TypeVar("Chosen", bound="Options")

ENVIRONMENT_PREFIX = "KONNECTIVITY_"
WIDTH = 100
_HELP_COLUMN = 40
_MAX_NANOS = 2**63 - 1
_NANOS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # U+00B5, the micro sign
    "μs": 10**3,  # U+03BC, the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_INT = re.compile(r"[+-]?(0x[0-9a-f]+|0|[1-9][0-9]*)", re.IGNORECASE)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]+)(Ki|Mi|Gi)?")
_SIZE_UNITS = {"Gi": 2**30, "Mi": 2**20, "Ki": 2**10}
# Kubernetes tells a pod of a Service called konnectivity-agent: KONNECTIVITY_AGENT_PORT=tcp://10.96.0.7:8091.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


# --- kinds of values ---


class Duration(float):
    """Seconds; marks a default as a duration."""


class Size(int):
    """Bytes; marks a default as a byte size."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How values of one type are read from text, and written so that reading gives them back."""

    name: str
    read: Callable[[str], T]  # raises ValueError, saying what to write instead
    write: Callable[[T], str]
    bare: str | None = None  # what the flag without a value stands for; None: it takes the next argument
    appends: bool = False  # a repeated flag adds to the value


def parse_duration(text: str) -> float:
    """Seconds from Go's syntax: `1h0m0s`, `500ms`, `1.5h`, `-1s`, `0`. Exact to the nanosecond, like Go."""
    body = text[1:] if text.startswith(("+", "-")) else text
    if body == "0":
        return 0.0
    nanos, at = 0, 0
    while part := _DURATION_PART.match(body, at):
        whole, fraction, unit = part.groups("")
        if unit not in _NANOS or not whole + fraction:
            break
        nanos += (int(whole + fraction) * _NANOS[unit]) // 10 ** len(fraction)
        at = part.end()
    if at < len(body) or not body:
        raise ValueError("not a duration; write numbers with units, as in 30s, 1m30s or 500ms")
    if nanos > _MAX_NANOS:
        raise ValueError("too long; the longest duration is 292 years")
    return (-nanos if text.startswith("-") else nanos) / 1e9


def format_duration(seconds: float) -> str:
    """Go's way of writing a duration: `1h0m0s`, `1m30s`, `1.5s`, `500ms`, `0s`."""
    nanos = round(abs(seconds) * 1e9)
    if nanos == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    for unit in ("ns", "µs", "ms"):
        if nanos < 1000 * _NANOS[unit]:
            return f"{sign}{_decimal(nanos, _NANOS[unit])}{unit}"
    minutes, rest = divmod(nanos, _NANOS["m"])
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, _NANOS['s'])}s"


def _decimal(nanos: int, unit: int) -> str:
    whole, fraction = divmod(nanos, unit)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}}".rstrip("0") if fraction else str(whole)


def duration(text: str) -> Duration:
    """The default of a duration option."""
    return Duration(parse_duration(text))


def size(text: str) -> Size:
    """The default of a byte size option."""
    return Size(_read_size(text))


def _read_int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError("not a whole number; write digits only, without leading zeros")
    return int(text, 0)


def _read_float(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError("not a number; write it as in 5 or 2.5")
    return float(text)


def _read_bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("must be true or false")


def _read_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("not a size; write bytes, or a number with Ki, Mi or Gi, as in 64Ki")
    return int(match[1]) * _SIZE_UNITS.get(match[2], 1)


def _write_size(value: int) -> str:
    for unit, factor in _SIZE_UNITS.items():
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _read_strings(text: str) -> tuple[str, ...]:
    if text == "[]":  # how launchers print an empty list
        return ()
    try:
        return tuple(next(csv.reader([text], strict=True), ()))
    except csv.Error as error:
        raise ValueError(f"not a list of values with commas between them: {error}") from None


def _write_strings(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return {"": "[]", "[]": '"[]"'}.get(line.getvalue(), line.getvalue())


STRING: Kind[str] = Kind("string", str, str)
INT: Kind[int] = Kind("int", _read_int, str)
FLOAT: Kind[float] = Kind("float", _read_float, lambda value: repr(value).removesuffix(".0"))
BOOL: Kind[bool] = Kind("bool", _read_bool, lambda value: "true" if value else "false", bare="true")
DURATION: Kind[float] = Kind("duration", parse_duration, format_duration)
SIZE: Kind[int] = Kind("size", _read_size, _write_size)
STRINGS: Kind[tuple[str, ...]] = Kind("strings", _read_strings, _write_strings, appends=True)

# A subclass stands before its base class: bool is an int, Duration a float.
_KINDS: tuple[tuple[type, Kind[Any]], ...] = (
    (bool, BOOL),
    (Size, SIZE),
    (int, INT),
    (Duration, DURATION),
    (float, FLOAT),
    (str, STRING),
    (tuple, STRINGS),
)


# --- checks: each says what is wrong with a value, or None ---

Check = Callable[[Any], str | None]


def port(low: int = 1, high: int = 65535) -> Check:
    """A port number within a range."""
    return lambda value: None if low <= value <= high else f"must be a port between {low} and {high}"


def one_of(*allowed: str) -> Check:
    """One of a few words."""
    return lambda value: None if value in allowed else f"must be one of: {', '.join(allowed)}"


def at_least(minimum: float) -> Check:
    """A number or duration that is not smaller."""
    shown = format_duration(minimum) if isinstance(minimum, Duration) else f"{minimum:g}"
    return lambda value: None if value >= minimum else f"must be {shown} or more"


def positive(value: float) -> str | None:
    """A number or duration above zero."""
    return None if value > 0 else "must be greater than 0"


def existing_file(path: str) -> str | None:
    """A file that is there. Empty means "not set" and is fine."""
    if not path:
        return None
    try:
        os.stat(path)
    except OSError as error:
        return f"{error.strerror}; check the path"
    return "is a directory; give the path of a file" if os.path.isdir(path) else None


# --- declarations ---


@dataclass(frozen=True, slots=True)
class Option:
    """One declaration, as `option()` made it. `field` and `flag` are filled in by `declared`."""

    kind: Kind[Any]
    default: Any
    help: str
    env: str | None
    hidden: bool
    deprecated: str | None
    metavar: str | None
    check: Check | None
    aliases: tuple[str, ...]
    group: str | None
    flag: str = ""
    field: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it, the first found wins."""
        own = ENVIRONMENT_PREFIX + self.flag.replace("-", "_").upper()
        return (self.env, own) if self.env else (own,)


def option(
    default: T,
    *,
    help: str,
    kind: Kind[Any] | None = None,
    env: str | None = None,
    name: str | None = None,
    hidden: bool = False,
    deprecated: str | None = None,
    metavar: str | None = None,
    check: Check | None = None,
    aliases: tuple[str, ...] = (),
    group: str | None = None,
) -> T:
    """A field of an `Options` class.

    Args:
        default: decides the kind unless `kind` does: a str, int, float, bool, `duration("1h")`, `size("64Ki")`, or
            a tuple of str for a list.
        help: one or two sentences for `--help` and the documentation.
        kind: how the text is read, where the default cannot tell.
        env: another environment variable that sets it, beside KONNECTIVITY_<NAME>.
        name: the flag, if it is not the field's name with dashes.
        hidden: not shown by `--help`.
        deprecated: what to do instead; printed when the option is used, and not shown by `--help`.
        metavar: the word for the value in `--help`, if it is not the kind's.
        check: says what is wrong with a value, or None.
        aliases: other names; one letter is a short flag.
        group: opens a group of `--help`, for this option and those after it.
    """
    chosen = kind or next(found for type_, found in _KINDS if isinstance(default, type_))
    # There and back: the default is then a plain value, and known to be one that a person can write.
    plain = chosen.read(chosen.write(default))
    made = Option(chosen, plain, help, env, hidden, deprecated, metavar, check, aliases, group, flag=name or "")
    result: T = field(default=plain, metadata={"option": made})
    return result


@dataclass(frozen=True)
class Options:
    """Base of a program's options. The derived class is a frozen dataclass too."""

    explicit: frozenset[str] = field(default=frozenset(), kw_only=True, repr=False, compare=False)

    def given(self, name: str) -> bool:
        """Whether the option of this field was set by a flag or the environment, even to its default."""
        getattr(self, name)  # a misspelt name is an error, not "no"
        return name in self.explicit

    def problems(self) -> list[str]:
        """What is wrong with the options taken together. For derived classes to override."""
        return []


def declared(cls: type[Options]) -> list[Option]:
    """The options of a class in the order of declaration, its own before those it inherits."""

    def distance(name: str) -> int:
        return max(i for i, owner in enumerate(cls.__mro__) if name in getattr(owner, "__dataclass_fields__", ()))

    options: list[Option] = []
    group = None
    for each in sorted((f for f in fields(cls) if "option" in f.metadata), key=lambda f: distance(f.name)):
        made: Option = each.metadata["option"]
        group = made.group or group
        options.append(replace(made, field=each.name, flag=made.flag or each.name.replace("_", "-"), group=group))
    return options


# --- reading ---


class UsageError(Exception):
    """The person who started the program wrote something wrong; `problems` names every mistake."""

    def __init__(self, problems: list[str], program: str = "") -> None:
        super().__init__(f"{program}: {'; '.join(problems)}" if program else "; ".join(problems))
        self.problems = problems


class HelpRequested(Exception):
    """`-h` or `--help` was given."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as it was written, and where."""

    text: str
    where: str

    def invalid(self, why: object) -> str:
        return f'invalid argument "{self.text}" for {self.where}: {why}'


class _CommandLine:
    """Finds the flags in the arguments. Does not interpret their values."""

    def __init__(self, options: Iterable[Option], argv: Sequence[str]) -> None:
        self.found: dict[str, list[_Given]] = {}
        self.problems: list[str] = []
        self._rest = iter(argv)
        self._longs: dict[str, Option] = {}
        self._shorts: dict[str, Option] = {}
        for each in options:
            self._longs[each.flag] = each
            for alias in each.aliases:
                (self._shorts if len(alias) == 1 else self._longs)[alias] = each

    def read(self) -> None:
        for argument in self._rest:
            if argument == "--":
                return
            if argument.startswith("--"):
                self._long(argument)
            elif argument.startswith("-") and argument != "-":
                self._short(argument)
            # Anything else is a positional argument: the Go programs ignore them, so manifests may have some.

    def _long(self, argument: str) -> None:
        name, equals, text = argument[2:].partition("=")
        found = self._longs.get(name)
        if found:
            self._take(found, f"--{name}", text if equals else found.kind.bare)
        elif name == "help":
            raise HelpRequested
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
            self.found.setdefault(found.field, []).append(_Given(text, f'"{spelled}" flag'))

    def _unknown(self, name: str) -> None:
        shown = [flag for flag, each in self._longs.items() if not (each.hidden or each.deprecated)]
        near = get_close_matches(name, shown, 1, 0.7)
        self.problems.append(f"unknown flag: --{name}" + (f"; did you mean --{near[0]}?" if near else ""))


def parse(cls: type[Chosen], argv: Sequence[str], environ: Mapping[str, str], program: str) -> Chosen:
    """The options a command line and an environment ask for. A flag beats a variable, a variable the default.

    Raises:
        UsageError: with everything that is wrong, not only the first mistake.
        HelpRequested: `-h` or `--help` is among the flags.
    """
    options = declared(cls)
    line = _CommandLine(options, argv)
    line.read()
    given, problems = line.found, line.problems
    for each in options:
        if each.field not in given and (variable := _from_environment(each, environ)):
            given[each.field] = [variable]
    values: dict[str, Any] = {}
    for each in options:
        if each.field in given:
            _interpret(each, given[each.field], values, problems)
    result = cls(**values, explicit=frozenset(given))
    for each in options:
        unreadable = each.field in given and each.field not in values
        if each.check and not unreadable and (why := each.check(getattr(result, each.field))):
            where = given[each.field][-1].where if each.field in given else f'"--{each.flag}" flag'
            problems.append(_Given(each.kind.write(getattr(result, each.field)), where).invalid(why))
    problems += result.problems()
    if problems:
        raise UsageError(problems, program)
    return result


def _from_environment(each: Option, environ: Mapping[str, str]) -> _Given | None:
    """Empty counts as not set, as for the Go programs. Kubernetes' own variables are not meant for us."""
    for variable in each.variables:
        text = environ.get(variable, "")
        if text and not (variable.endswith("_PORT") and _SERVICE_LINK.match(text)):
            return _Given(text, f'environment variable "{variable}"')
    return None


def _interpret(each: Option, given: list[_Given], values: dict[str, Any], problems: list[str]) -> None:
    """Put the value into `values`, unless it cannot be read."""
    readings = []
    for one in given:
        try:
            readings.append(each.kind.read(one.text))
        except ValueError as error:
            problems.append(one.invalid(error))
    if len(readings) == len(given):
        values[each.field] = sum(readings, ()) if each.kind.appends else readings[-1]


# --- showing ---


def _shown_default(each: Option) -> str:
    """The default for a reader; "" if it is what one expects anyway: nothing, zero, false."""
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
    text = each.help + (f" ({', '.join(notes)})" if notes else "")
    # A long head has a line of its own; a short one stands before the first line of the help.
    alone = [head] if len(head) > _HELP_COLUMN - 2 else []
    first = " " * _HELP_COLUMN if alone else f"{head:{_HELP_COLUMN}}"
    rest = " " * _HELP_COLUMN
    wrapped = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return alone + wrapped


def _grouped(options: Iterable[Option]) -> dict[str, list[Option]]:
    groups: dict[str, list[Option]] = {}
    for each in options:
        groups.setdefault(each.group or "Flags", []).append(each)
    return groups


def usage(cls: type[Options], program: str, description: str) -> str:
    """The text of `--help`."""
    lines = [*textwrap.wrap(description, WIDTH), "", "Usage:", f"  {program} [flags]"]
    for group, options in _grouped(o for o in declared(cls) if not (o.hidden or o.deprecated)).items():
        lines += ["", f"{group}:"]
        for each in options:
            lines += _usage_entry(each)
    lines += ["", "Help:", f"{'  -h, --help':{_HELP_COLUMN}}Show this text."]
    lines += ["", f"Instead of --some-flag, the environment variable {ENVIRONMENT_PREFIX}SOME_FLAG may be set."]
    return "\n".join(lines) + "\n"


def markdown(cls: type[Options], program: str) -> str:
    """The reference page: a table row for every option, the hidden and the deprecated ones too."""
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
    if each.deprecated:
        meaning += f" Deprecated: {each.deprecated}."
    cells = [", ".join(names), each.metavar or each.kind.name, f"`{default}`" if default else "", meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def effective(options: Options) -> str:
    """All values in force, one `--name=value` per line; the lines are arguments that give the same options."""
    shown = [each for each in declared(type(options)) if not each.deprecated]
    return "\n".join(f"--{each.flag}={each.kind.write(getattr(options, each.field))}" for each in shown)


def deprecations(options: Options) -> list[str]:
    """A line for each deprecated option that was used."""
    used = [each for each in declared(type(options)) if each.deprecated and options.given(each.field)]
    return [f"Flag --{each.flag} has been deprecated, {each.deprecated}" for each in used]


def load(cls: type[Chosen], program: str, description: str, argv: Sequence[str] | None = None) -> Chosen:
    """What a program's `main` begins with: its options, or the help or the mistakes printed and the program ended."""
    try:
        options = parse(cls, sys.argv[1:] if argv is None else argv, os.environ, program)
    except HelpRequested:
        sys.stdout.write(usage(cls, program, description))
        raise SystemExit(0) from None
    except UsageError as error:
        errors = "".join(f"Error: {problem}\n" for problem in error.problems)
        # And once more at the end: of a pod that failed, Kubernetes keeps the last lines only.
        sys.stderr.write(f"{errors}\n{usage(cls, program, description)}\n{errors}")
        raise SystemExit(1) from None
    for line in deprecations(options):
        print(line, file=sys.stderr)
    return options

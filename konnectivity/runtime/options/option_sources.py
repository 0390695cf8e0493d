"""Sources of options: command line, environment and file, read into a program's options or a list of errors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from konnectivity.runtime.build_kind import version_line
from konnectivity.runtime.options.command_line import CommandLine, Given, HelpRequested, UsageError, VersionRequested
from konnectivity.runtime.options.config_file import ConfigFile
from konnectivity.runtime.options.declarations import Option, Options, declared
from konnectivity.runtime.options.help_text import deprecations, doubts, usage
from konnectivity.runtime.options.value_checks import Check
from konnectivity.runtime.standard_streams import complain, say
from konnectivity.untrusted.untrusted_text import visible

Chosen = TypeVar("Chosen", bound=Options)

MAX_PROBLEM = 8 * 1024  # characters of an error that is shown
CONFIG = "config"  # the option that names the file
# Kubernetes tells a pod of a Service called konnectivity-agent: KONNECTIVITY_AGENT_PORT=tcp://10.96.0.7:8091.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


def parse(cls: type[Chosen], argv: Sequence[str], environ: Mapping[str, str], program: str) -> Chosen:
    """Return the options. A flag has precedence over a variable, a variable over the file, the file over the default.

    Raises:
        UsageError: with all errors, not only the first.
        HelpRequested: `-h` or `--help` is among the flags.

    """
    result, problems = read(cls, argv, environ)
    if problems:
        raise UsageError(problems, program)
    return result


def read(
    cls: type[Chosen], argv: Sequence[str], environ: Mapping[str, str], without: Container[Check] = ()
) -> tuple[Chosen, list[str]]:
    """Return the options and all errors in them; an option that cannot be read has its default.

    Args:
        cls: class of the options.
        argv: command line without the program's name.
        environ: environment variables.
        without: checks that are skipped, for example of files on another machine.

    Raises:
        HelpRequested: `-h` or `--help` is among the flags.

    """
    options = declared(cls)
    line = CommandLine(options, argv)
    line.read()
    given, problems = line.found, line.problems
    for each in options:
        if each.field not in given and (variable := _from_environment(each, environ)):
            given[each.field] = [variable]
    if CONFIG in given and (path := given[CONFIG][-1].text):
        file = ConfigFile(options, path)
        file.read()
        given |= {field: found for field, found in file.found.items() if field not in given}
        problems += file.problems
    return _interpreted(cls, given, problems, {}, tuple(line.words), without)


def read_over(
    cls: type[Chosen],
    allowed: Container[str],
    path: str,
    values: Mapping[str, Any],
    located: Callable[[str], str],
    files: Container[str],
) -> tuple[Chosen, list[str]]:
    """Return the options that a file sets over given values, and all errors in them.

    Args:
        cls: class of the options.
        allowed: fields that the file may set.
        path: path of the file, in the form of the file of --config.
        values: values by field; an option without one has its default unless the file sets it.
        located: returns the path of a file that the file names.
        files: fields whose values are paths.

    """
    file = ConfigFile([each for each in declared(cls) if each.field in allowed], path)
    file.read()
    given = {
        field: [replace(one, text=located(one.text)) for one in found] if field in files and found[-1].text else found
        for field, found in file.found.items()
    }
    return _interpreted(cls, given, file.problems, values)


def _interpreted(
    cls: type[Chosen],
    given: Mapping[str, list[Given]],
    problems: list[str],
    inherited: Mapping[str, Any],
    words: tuple[str, ...] = (),
    without: Container[Check] = (),
) -> tuple[Chosen, list[str]]:
    """Return the options that texts set over inherited values, and all errors: those found before, and new ones."""
    options = declared(cls)
    values: dict[str, Any] = dict(inherited)
    unreadable = set()
    for each in options:
        if each.field in given and not _interpret(each, given[each.field], values, problems):
            unreadable.add(each.field)
    sources = {field: texts[-1].source for field, texts in given.items()}
    result = cls(**values, sources=sources, words=words)
    for each in options:
        if not each.check or each.field in unreadable or each.check in without:
            continue
        if why := each.check(getattr(result, each.field)):
            where = given[each.field][-1].where if each.field in given else f'"--{each.flag}" flag'
            problems.append(Given(each.kind.write(getattr(result, each.field)), where, "").invalid(why))
    return result, problems + result.problems()


def _from_environment(each: Option, environ: Mapping[str, str]) -> Given | None:
    """Return the value of the first variable that is not empty, except variables that Kubernetes itself sets."""
    for variable in each.variables:
        text = environ.get(variable, "")
        if text and not (variable.endswith("_PORT") and _SERVICE_LINK.match(text)):
            return Given(text, f'environment variable "{variable}"', f"environment {variable}")
    return None


def _interpret(each: Option, given: list[Given], values: dict[str, Any], problems: list[str]) -> bool:
    """Read a value into `values` and return True, or append why it cannot be read to `problems`."""
    readings = []
    for one in given:
        try:
            readings.append(each.kind.read(one.text))
        except ValueError as error:
            problems.append(one.invalid(error))
    if len(readings) != len(given):
        return False
    values[each.field] = sum(readings, ()) if each.kind.appends else readings[-1]
    return True


def load(cls: type[Chosen], program: str, description: str, argv: Sequence[str] | None = None) -> Chosen:
    """Return the options of a program's `main`, or print the help or all errors and exit."""
    try:
        options = parse(cls, sys.argv[1:] if argv is None else argv, os.environ, program)
    except VersionRequested:
        say(f"{version_line(program)}\n")
        raise SystemExit(0) from None
    except HelpRequested:
        say(usage(cls, program, description))
        raise SystemExit(0) from None
    except UsageError as error:
        errors = "".join(f"Error: {visible(problem, MAX_PROBLEM)}\n" for problem in error.problems)
        # Errors are repeated at the end: Kubernetes keeps only the last lines of a failed pod.
        complain(f"{errors}\n{usage(cls, program, description)}\n{errors}")
        raise SystemExit(1) from None
    for line in (*deprecations(options), *doubts(options)):
        complain(f"{visible(line, MAX_PROBLEM)}\n")
    return options

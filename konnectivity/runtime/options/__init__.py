"""Options of a program: one declaration each, read from the command line, the environment and a file.

A program declares a frozen dataclass derived from `Options`; every field made by `option()` is a flag, an environment
variable, a key of the file, a line of `--help` and a row of docs/reference/server-options.md or agent-options.md.
The command line is read in the dialect of Go's pflag, because manifests and launchers written for the Go programs are
passed to ours unchanged.

The package does not know the options of any program, nor what values are used for.
"""

from konnectivity.runtime.options.command_line import HelpRequested, UsageError
from konnectivity.runtime.options.declarations import ENVIRONMENT_PREFIX, Option, Options, declared, option
from konnectivity.runtime.options.help_text import WIDTH, deprecations, doubts, effective, markdown, notices, usage
from konnectivity.runtime.options.option_sources import load, parse, read, read_over
from konnectivity.runtime.options.value_checks import (
    Check,
    at_least,
    existing_directory,
    existing_file,
    header_text,
    one_of,
    port,
    positive,
    positive_duration,
)
from konnectivity.runtime.options.value_kinds import (
    BOOL,
    DURATION,
    FLOAT,
    INT,
    SIZE,
    STRING,
    STRINGS,
    SWITCH,
    WORDS,
    Duration,
    Kind,
    Size,
    duration,
    format_duration,
    parse_duration,
    size,
)

__all__ = [
    "BOOL",
    "DURATION",
    "ENVIRONMENT_PREFIX",
    "FLOAT",
    "INT",
    "SIZE",
    "STRING",
    "STRINGS",
    "SWITCH",
    "WIDTH",
    "WORDS",
    "Check",
    "Duration",
    "HelpRequested",
    "Kind",
    "Option",
    "Options",
    "Size",
    "UsageError",
    "at_least",
    "declared",
    "deprecations",
    "doubts",
    "duration",
    "effective",
    "existing_directory",
    "existing_file",
    "format_duration",
    "header_text",
    "load",
    "markdown",
    "notices",
    "one_of",
    "option",
    "parse",
    "parse_duration",
    "port",
    "positive",
    "positive_duration",
    "read",
    "read_over",
    "size",
    "usage",
]

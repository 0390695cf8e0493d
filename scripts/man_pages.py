"""Write the manual pages of all three programs into DIRECTORY, from the declarations of their options.

Usage: man_pages.py DIRECTORY. `man -l DIRECTORY/proxy-server.1` shows one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from konnectivity import __version__
from konnectivity.tool.cli.completion.command_words import CommandWord, OptionWord
from konnectivity.tool.cli.completion.completion_scripts import all_programs
from konnectivity.tool.cli.main import command_parser

_PURPOSE = {
    "konnectivity": "tools for Konnectivity tunnels",
    "proxy-server": "carry connections of kube-apiserver to nodes, through agents that dialled in",
    "proxy-agent": "dial out to a proxy server and open the connections that it asks for",
}
_SETTINGS = """\
.SH ENVIRONMENT
Instead of \\fB\\-\\-some\\-flag\\fR the variable \\fBKONNECTIVITY_SOME_FLAG\\fR may be set, or a line
\\fBsome\\-flag: value\\fR be in the YAML file that \\fB\\-\\-config\\fR names.
A flag has precedence over a variable, a variable over the file.
.SH SIGNALS
SIGTERM and SIGINT drain the program: it takes no new connections and ends with the last one.
A second signal ends it at once.
.SH EXIT STATUS
0 after a drain; 1 if the options are wrong or the program cannot start."""
_TOOL_STATUS = """\
.SH EXIT STATUS
0, no problem; 1, a problem; 2, wrong usage, or no program answered."""


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for program in all_programs(command_parser(), ineffective=True):
        name = program.words[0]
        (directory / f"{name}.1").write_text("\n".join(_page(program)) + "\n")


def _page(program: CommandWord) -> Iterator[str]:
    """Yield the lines of a page."""
    name = program.words[0]
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))  # noqa: TID251
    yield f'.TH {_text(name.upper())} 1 "{date}" "konnectivity {__version__}" "Konnectivity for Python"'
    yield ".SH NAME"
    yield f"{_text(name)} \\- {_text(_PURPOSE[name])}"
    yield ".SH SYNOPSIS"
    yield f".B {_text(name)}"
    yield ".I COMMAND\n.RI [ options ]" if program.commands else ".RI [ flags ]"
    yield ".SH DESCRIPTION"
    yield _text(program.help)
    if program.commands:
        yield ".SH COMMANDS"
        for command in list(program.all())[1:]:
            if command.options:
                yield f".SS {_text(' '.join(command.words))}"
                yield _text(command.help)
                for option in command.options:
                    yield from _option(option)
    yield ".SH OPTIONS"
    for option in program.options:
        yield from _option(option)
    yield _TOOL_STATUS if program.commands else _SETTINGS
    yield ".SH SEE ALSO"
    others = [other for other in _PURPOSE if other != name]
    yield from (f".BR {_text(other)} (1){',' * (other != others[-1])}" for other in others)


def _option(option: OptionWord) -> Iterator[str]:
    names = ", ".join(f"\\fB{_text(each)}\\fR" for each in option.names)
    value = f" \\fI{_text(option.value)}\\fR" if option.value and not option.optional else ""
    yield ".TP"
    yield names + value
    default = f" Default: {option.default}." if option.default else ""
    yield _text(f"{option.help}{default}") or "\\&"


def _text(text: str) -> str:
    """Return a text with the characters escaped that troff would interpret."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

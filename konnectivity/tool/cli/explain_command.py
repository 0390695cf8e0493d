"""Command `konnectivity explain -- PROGRAM ARGUMENTS`: says what arguments mean and which mistakes they contain."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from konnectivity.runtime.options import HelpRequested, Options, declared
from konnectivity.runtime.options.value_checks import existing_file
from konnectivity.tool.check_results import COLUMNS, CheckResult, CheckStatus, failed, rows, to_do, warning
from konnectivity.tool.cli import output
from konnectivity.tool.cli.programs import SERVER, Program, split

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLE = """\
exit code: 0, the program would start; 1, it would not, or would not work; 2, wrong usage

example:
  konnectivity explain -- proxy-server --uds-name=/run/k.sock --cluster-cert=a.crt --cluster-key=a.key \\
      --agent-namespace=kube-system --agent-service-account=konnectivity-agent \\
      --authentication-audience=system:konnectivity-server
  konnectivity explain -o yaml --all -- proxy-agent --proxy-server-host=konnectivity.example --ca-cert=ca.crt
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "explain",
        help="explain the arguments of proxy-server or proxy-agent, and warn of mistakes",
        description="Explain the arguments of proxy-server or proxy-agent, as they are in a manifest, and warn of "
        "mistakes. The command starts nothing and connects to nothing. A file that is not here is only a warning.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="Show every option, not only those that are set.")
    output.add_to(parser)
    parser.add_argument(
        "arguments", nargs="*", metavar="PROGRAM ARGUMENTS", help="Arguments of proxy-server or proxy-agent, after --."
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code (listed in `_EXAMPLE`)."""
    try:
        programs = split(arguments.arguments)
        if len(programs) != 1:
            raise ValueError("give the arguments of one program: konnectivity explain -- proxy-agent --ca-cert=...")
        found = explained(programs[0], arguments.all)
    except HelpRequested:
        output.complain("explain", "--help is among the program's arguments")
        return 2
    except ValueError as error:
        output.complain("explain", error)
        return 2
    _show(found, arguments.output)
    return 1 if any(each["status"] == CheckStatus.FAILED.value for each in found["findings"]) else 0


def explained(program: Program, everything: bool = False) -> dict[str, Any]:
    """Return the explanation of a program's arguments.

    Raises:
        HelpRequested: the arguments ask for the program's help.

    """
    options, problems, facts, found = _server(program) if program.name == SERVER else _agent(program)
    findings = [failed("options", program.name, each, "correct it: the program does not start") for each in problems]
    findings += [*_files(options), *found]
    return {
        "program": program.name,
        "amounts_to": facts,
        "options": _options(options, everything),
        "findings": rows(findings),
        "to_do": to_do(findings),
    }


_Explained = tuple[Options, list[str], dict[str, str], list[CheckResult]]


def _server(program: Program) -> _Explained:
    from konnectivity_server import server_advice

    options, problems = program.server((existing_file,))
    return options, problems, server_advice.amounts_to(options), server_advice.pitfalls(options)


def _agent(program: Program) -> _Explained:
    from konnectivity_agent import agent_advice

    options, problems = program.agent((existing_file,))
    try:
        options.proxies(os.environ)
    except ValueError as error:
        if not problems:  # a host that cannot be read is among them
            problems = [f"environment variable {error}"]
    return options, problems, agent_advice.amounts_to(options, os.environ), agent_advice.pitfalls(options)


def _files(options: Options) -> list[CheckResult]:
    found = []
    for each in declared(type(options)):
        path = getattr(options, each.field)
        if each.check is existing_file and path and (why := existing_file(path)):
            what = f"{path}: {why.partition(';')[0]} (on this machine)"
            do = "fine if it is mounted where the program runs; `konnectivity doctor` there looks into it"
            found.append(warning("file", f"--{each.flag}", what, do))
    return found


def _options(options: Options, everything: bool) -> list[dict[str, Any]]:
    shown = []
    for each in declared(type(options)):
        if (everything and not each.deprecated) or options.given(each.field):
            value = each.kind.write(getattr(options, each.field))
            default = each.kind.write(each.default)
            came_from = options.sources.get(each.field, "default")
            shown.append({"option": each.flag, "value": value, "from": came_from, "default": default})
    return shown


def _show(found: dict[str, Any], form: str) -> None:
    if form != output.TABLE:
        output.show(found, form)
        return
    print(f"Summary of the arguments of {found['program']}\n")
    output.show([{"what": what, "is": text} for what, text in found["amounts_to"].items()], form)
    print("\nOptions\n")
    output.show(found["options"], form, ["option", "value", "from", "default"])
    print("\nMistakes\n" if found["findings"] else "\nNo mistakes found")
    if found["findings"]:
        output.show(found["findings"], form, COLUMNS)
        print("\nTo do\n")
        print("\n".join(f"* {line}" for line in found["to_do"]))

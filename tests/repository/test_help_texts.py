"""Tests that each help text of the programs and the tool can be read alone: it names quantity, unit and default."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime.options import DURATION, FLOAT, INT, SIZE, STRING, STRINGS, Option, declared
from konnectivity.tool.cli.main import command_parser
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions

VAGUE = re.compile(
    r"\b(so many|so long|as many|this long|who asks|what is said|as it is|is no|goes? on|comes?|such an?|the same on|"
    r"the (two|one) below|established)\b",
    re.IGNORECASE,
)
POOR_BEGINNING = re.compile(
    r"(and|but|for|how|it|its|of|one|such|the same|this|what|which|who|whose|with|whether)\b", re.IGNORECASE
)
QUANTITY = {
    DURATION: re.compile(r"\b(time|pause)\b", re.IGNORECASE),
    SIZE: re.compile(r"\bbytes\b"),
    INT: re.compile(r"\b(number of|TCP port|log level|in MiB)\b", re.IGNORECASE),
    FLOAT: re.compile(r"\bper second\b|\bfrom 0 to 1\b"),
}


PROGRAM_OPTIONS = {
    "proxy-server": ServerOptions,
    "proxy-agent": AgentOptions,
    "konnectivity forward": ForwardOptions,
}


def of_programs() -> Iterator[tuple[str, Option]]:
    for program, options in PROGRAM_OPTIONS.items():
        for each in declared(options):
            if not each.instead and not each.deprecated:
                yield f"{program} --{each.flag}", each


def of_tool(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from of_tool(each)
        elif "--help" not in action.option_strings and "--version" not in action.option_strings:
            name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            yield f"{parser.prog} {name}", action.help or ""


PROGRAMS = dict(of_programs())
TEXTS = {**{name: each.help for name, each in PROGRAMS.items()}, **dict(of_tool(command_parser()))}


def takes(option: Option, value: object) -> bool:
    return option.check is None or option.check(value) is None


@pytest.mark.parametrize("name", TEXTS)
def test_a_help_text_reads_alone(name: str) -> None:
    text = TEXTS[name]
    assert re.match(r"[A-Z]|gRPC", text), "begins with a capital letter"
    assert text.endswith("."), "ends with a period"
    assert not VAGUE.search(text), "says the quantity, the actor and the event"
    assert not POOR_BEGINNING.match(text), "begins with its thing, or with a verb"


@pytest.mark.parametrize("name", [name for name, each in PROGRAMS.items() if each.kind in QUANTITY])
def test_the_help_of_a_quantity_names_quantity_and_unit(name: str) -> None:
    assert QUANTITY[PROGRAMS[name].kind].search(PROGRAMS[name].help)


@pytest.mark.parametrize("name", [name for name, each in PROGRAMS.items() if each.kind in QUANTITY and takes(each, 0)])
def test_the_help_of_a_number_says_what_0_means_where_it_is_taken(name: str) -> None:
    option = PROGRAMS[name]
    refused_by_another = option.field == "sync_interval_cap"  # by --sync-interval, which is 10 ms at least
    assert refused_by_another or re.search(r"\b0 = ", option.help)


@pytest.mark.parametrize(
    "name", [name for name, each in PROGRAMS.items() if each.kind in (STRING, STRINGS) and not each.default]
)
def test_the_help_of_a_text_says_what_empty_means_where_that_is_the_default(name: str) -> None:
    assert re.search(r"\(empty = |\(required\)", PROGRAMS[name].help)


@pytest.mark.parametrize("options", [ServerOptions, AgentOptions], ids=["server", "agent"])
def test_an_option_stands_in_the_group_of_its_thing(options: type) -> None:
    groups = {each.flag: each.group for each in declared(options)}
    assert groups["heartbeat-interval"] == groups["keepalive-time"]
    assert groups["connection-window"] == groups["process-buffer-budget"] == "Memory"
    assert groups["config"] == groups["check-config"] == "Program"
    assert groups["kubeconfig"] == groups["lease-namespace"] == "Kubernetes API"
    assert {flag for flag, group in groups.items() if group == "TLS"} <= {"cipher-suites", "tls-min-version"}
    assert {flag for flag, group in groups.items() if group == "Identity"} <= {"agent-id", "agent-identifiers"}

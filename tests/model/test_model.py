"""All states of the models hold what docs/internals/protocol.md promises, and a mistake in the design is found."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from model.model_checker import FOLDER, check


@pytest.fixture(scope="module", autouse=True)
def _checker() -> None:
    if shutil.which("java") is None:
        pytest.skip("needs Java 11 or newer (Debian: default-jre-headless)")
    subprocess.run(["sh", str(FOLDER / "fetch_tlc.sh")], check=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("module", "configuration", "states"),
    [("Connection", "Connection", 25_002), ("Connection", "BothWays", 165_729), ("Dial", "Dial", 60_635)],
)
def test_every_state_holds_the_promises(module: str, configuration: str, states: int, tmp_path: Path) -> None:
    verdict = check(module, configuration, tmp_path)
    assert not verdict.broken, verdict.output
    print(f"{module}, {configuration}: {verdict.states:,} states")
    assert verdict.states == states, "a changed model has other states: write their number here and into protocol.md"


TEMPORAL = "temporal properties"


def row(state: str, event: str, target: str, *actions: str) -> str:
    """Return the text of a row of the table, from its second key to its actions."""
    names = ", ".join(f'"{action}"' for action in actions)
    return f'"{state}", "{event}">> :> [to |-> "{target}", actions |-> <<{names}>>'


# name: module, its configuration, promises of which one breaks, text to replace, new text
MISTAKES: dict[str, tuple[str, str, set[str], str, str]] = {
    "a lost tunnel looks like a clean end": (
        "Connection",
        "Connection",
        {"CleanEnd"},
        row("open", "tunnel lost", "closed", "ABORT_LOCAL"),
        row("open", "tunnel lost", "closed", "CLOSE_LOCAL"),
    ),
    "a local side reads the end before its last byte": (
        "Connection",
        "Connection",
        {"CleanEnd"},
        "~r.gone /\\ r.passed = r.received",
        "~r.gone",
    ),
    "a local side that leaves does not send STOP": (
        "Connection",
        "Connection",
        {TEMPORAL},
        row("open", "local gone", "open", "SEND_STOP"),
        row("open", "local gone", "open"),
    ),
    "a reset of the local side is not passed on": (
        "Connection",
        "Connection",
        {TEMPORAL},
        row("received end", "local lost", "closed", "SEND_RESET"),
        row("received end", "local lost", "closed"),
    ),
    "credit is returned twice": (
        "Connection",
        "Connection",
        {"CreditKept", "NoViolation", "Bounded"},
        'Packet("CREDIT", 1)',
        'Packet("CREDIT", 2)',
    ),
    "a late answer to a dial is ignored": (
        "Dial",
        "SmallDial",
        {TEMPORAL},
        'down\' = Put(down, t, Packet("RESET", number))',
        "down' = down",
    ),
    "an agent keeps its targets when the tunnel is lost": (
        "Dial",
        "SmallDial",
        {TEMPORAL},
        "IF n = t THEN [open |-> FALSE, opening |-> {}, targets |-> {}]",
        "IF n = t THEN [agent[n] EXCEPT !.open = FALSE, !.opening = {}]",
    ),
    "a dial that expires stays pending at its tunnel": (
        "Dial",
        "SmallDial",
        {"OnePending"},
        "    /\\ Fail(Cancelling, Withdrawn)",
        "    /\\ Fail(Cancelling, server)",
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_design_is_found(mistake: str, tmp_path: Path) -> None:
    module, configuration, found, old, new = MISTAKES[mistake]
    assert check(module, configuration, tmp_path, {old: new}).broken in found

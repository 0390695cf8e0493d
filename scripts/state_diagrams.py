"""Write what follows from the state tables of a connection (--check: compare).

The diagrams go into docs/internals/protocol.md, that of the extension into a TLA+ module in tests/model.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from generated_files import ROOT, write_or_check
from konnectivity.tunnel.states import EXTENDED, REFERENCE_DIALING, REFERENCE_SERVING, Action, Input, State, Table

PAGE = ROOT / "docs" / "internals" / "protocol.md"
MODULE = ROOT / "tests" / "model" / "ExtendedTable.tla"
DIALECTS = {
    "extension": EXTENDED,
    "reference-dialing": REFERENCE_DIALING,
    "reference-serving": REFERENCE_SERVING,
}
EVERYWHERE = {
    event: EXTENDED[State.OPEN, event]
    for event in (Input.PEER_RESET, Input.TUNNEL_LOST, Input.VIOLATION, Input.EXPIRED)
}
SHOWN = {  # actions that a diagram shows; the others are inside the program
    Action.SEND_END: "DATA_END",
    Action.SEND_STOP: "STOP",
    Action.SEND_RESET: "RESET",
    Action.END_LOCAL: "FIN to the local side",
    Action.CLOSE_LOCAL: "close the local side",
    Action.ABORT_LOCAL: "abort the local side",
    Action.DROP_QUEUE: "drop the queue",
}
CLOSE_PACKET = {"reference-dialing": "CLOSE_REQ", "reference-serving": "CLOSE_RSP"}


def diagram(dialect: str, table: Table) -> str:
    """Return the Mermaid diagram of one dialect. Rows that are the same in each state are left to the page's text."""
    edges: dict[tuple[State, State], list[str]] = defaultdict(list)
    shown = {**SHOWN, Action.SEND_CLOSE: CLOSE_PACKET.get(dialect, "")}
    for (state, event), (target, actions) in table.items():
        if EVERYWHERE.get(event) == (target, actions):
            continue
        steps = ", ".join(shown[action] for action in actions if action in shown)
        edges[state, target].append(f"{event.value} / {steps}" if steps else event.value)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> OPEN"]
    lines += [f"    {state.name} --> {target.name}: {'<br>'.join(labels)}" for (state, target), labels in edges.items()]
    return "\n".join([*lines, "    CLOSED --> [*]", "```"])


def module() -> str:
    """Return the TLA+ module that has the table of the extension as a function."""
    rows = []
    for (state, event), (target, actions) in EXTENDED.items():
        if state is not State.CLOSING:
            names = ", ".join(f'"{action.name}"' for action in actions)
            rows.append(
                f'    (<<"{state.value}", "{event.value}">> :> [to |-> "{target.value}", actions |-> <<{names}>>])'
            )
    return "\n".join(
        [
            f"{'-' * 30} MODULE ExtendedTable {'-' * 30}",
            "\\* `make docs` generates this module from EXTENDED in konnectivity/tunnel/states.py.",
            "EXTENDS TLC",
            "",
            "Table ==",
            " @@\n".join(rows),
            "=" * 82,
            "",
        ]
    )


def page(text: str) -> str:
    """Return the text of the page with its diagrams replaced."""
    for dialect, table in DIALECTS.items():
        begin, end = f"<!-- states: {dialect} -->\n", f"\n<!-- end of states: {dialect} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE.name} lacks the lines {begin.strip()} and {end.strip()}")
        text = before + begin + diagram(dialect, table) + end + after
    return text


if __name__ == "__main__":
    sys.exit(write_or_check({PAGE: page(PAGE.read_text()), MODULE: module()}))

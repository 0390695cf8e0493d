"""Board on a terminal: text of a peer cannot control it, and numbers are complete however long texts are."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from konnectivity.tool.top.board import Board
from konnectivity.tool.top.screen import frame
from konnectivity.tool.top.snapshots import Snapshot

EVIL = "\x1b]0;title\x07\x1b[2Jevil\u202e\u200b\n\ud800[bold red][link=http://x]y[/link][/nothing]:smile:"


def shown(text: str, width: int) -> list[str]:
    """Return the lines of a frame in which every text is `text`."""
    connection = {
        "agent": text,
        "server": None,
        "id": 1,
        "destination": text,
        "origin": text,
        "age": 4_000.0,
        "bytes_to_destination": 1,
        "bytes_from_destination": 1,
        "buffered_bytes": 7_000,
        "state": "stalled",
        "stalled_side": "client",
        "stalled_for": 12.0,
    }
    agent = {"id": text, "state": text, "connections": 5, "connected_for": 90_000.0, "round_trip": 0.0123}
    agent |= {"dial_latency": None, "pending_dials": 0, "buffered_bytes": 0}
    failure = {"ago": 61.0, "reason": text, "destination": text, "agent": text, "text": text, "count": 3}
    gone = {"ago": 62.0, "id": text, "connections": 2, "reason": text}
    overview = {"id": text, "ready": False, "not_ready": text, "dial_failures": {"recent": [failure]}}
    board = Board()
    board.take([Snapshot("a:1", 1.0, "", overview | {"agents_gone": [gone]}, [agent], [connection])])
    board.take([Snapshot("b:1", 1.0, text)])
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=60, force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(frame(board, 2.0, "age", (width, 60)))
    plain = io.StringIO()
    Console(file=plain, width=width, height=60).print(frame(board, 2.0, "age", (width, 60)))
    shown.raw = out.getvalue()  # type: ignore[attr-defined]
    return plain.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_texts_of_peers_do_nothing_to_the_terminal(width: int) -> None:
    lines = shown(EVIL, width)
    raw = shown.raw  # type: ignore[attr-defined]
    for evil in ("\x1b]", "\x1b[2J", "\u202e", "\u200b", "\x07", "\ud800", "8;;", "\N{SMILING FACE WITH OPEN MOUTH}"):
        assert evil not in raw
    assert any("\\x1b]0;title" in line for line in lines)
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_long_text_leaves_the_numbers_whole(width: int) -> None:
    text = "\n".join(shown("node-with-a-very-long-name." * 8 + "example:10250", width))
    for number in ("1h06m", "1d01h", "1m01s", "1m02s", "12ms"):
        assert number in text, f"{number} is cut at {width} columns:\n{text}"
    assert "AGE" in text
    assert "FROM/s" in text


def test_columns_that_can_be_missed_stay_where_there_is_room() -> None:
    text = "\n".join(shown("node-1", 160))
    assert "BUFFERED" in text
    assert "SERVER" in text


def test_agents_that_left_are_shown() -> None:
    lines = shown("node-1", 100)
    at = next(number for number, line in enumerate(lines) if "Agents that left and did not come back" in line)
    assert lines[at + 2].split() == ["1m02s", "node-1", "node-1", "2", "node-1"]

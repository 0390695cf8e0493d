"""Tables that show a board with rich: chooses columns, widths and colours. Asks no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from konnectivity.tool.top import figures
from konnectivity.tool.top.board import Board, Row
from konnectivity.untrusted.untrusted_text import visible

PLOT_WIDTH = 30
_STYLES = {
    "ready": "green",
    "half-closed": "dim",
    "draining": "yellow",
    "full": "yellow",
    "duplicate": "dim",
    "declining": "yellow",
    "not ready": "bold red",
    "lost": "bold red",
    "silent": "bold red",
    "stalled": "bold red",
    "failing": "bold red",
    "suspect": "yellow",
    "closing": "dim",
}
MAX_CELL = 300  # characters of a text in a cell
MIN_TEXT = 16  # columns that a text gets at least, before columns that can be missed are left out
_GAP = 2  # columns between two cells
_HEADS = 12  # lines of titles, heads and blank lines between tables
_FEWEST = 3  # rows that each table has room for

Cell = Callable[[Row], str | Text]


class _Column(NamedTuple):
    head: str
    cell: Cell
    number: bool = True
    missable: bool = False


def _text(name: str) -> Cell:
    return lambda row: visible(str(row[name]), MAX_CELL)


def _name(name: str) -> Cell:
    return lambda row: visible(figures.name(str(row[name])), MAX_CELL)


def _size(name: str) -> Cell:
    return lambda row: figures.size(row[name])


def _seconds(name: str) -> Cell:
    return lambda row: figures.seconds(row[name])


def _state(row: Row) -> Text:
    state = Text(visible(str(row["state"]), MAX_CELL), style=_STYLES.get(row["state"], ""))
    if row.get("stalled_side"):
        side = visible(str(row["stalled_side"]), MAX_CELL)
        state.append(f" {figures.seconds(row['stalled_for'])}, {side} takes nothing")
    return state


def _stalls(row: Row) -> Text:
    return Text(str(row["stalled"]), style="bold red" if row["stalled"] else "")


_SERVERS = (
    _Column("SERVER", _name("server"), False),
    _Column("STATE", _state, False),
    _Column("AGENTS", _text("agents")),
    _Column("CONNS", _text("connections")),
    _Column("STALLED", _stalls),
    _Column("DIALS/s", lambda row: figures.rate(row["dials_per_s"])),
    _Column("FAILED/s", lambda row: figures.rate(row["failures_per_s"])),
    _Column("TO/s", _size("to_destination_per_s")),
    _Column("FROM/s", _size("from_destination_per_s")),
    _Column("BUFFERED", _size("buffered_bytes"), True, True),
    _Column("MEMORY", _size("resident_bytes"), True, True),
    _Column("UP", _seconds("uptime"), True, True),
    _Column("LAST SECONDS", lambda row: Text(figures.plot(row["history"], PLOT_WIDTH), style="cyan"), True, True),
)
_AGENTS = (
    _Column("AGENT", _name("agent"), False),
    _Column("SERVER", _name("server"), False),
    _Column("STATE", _state, False),
    _Column("ROUND TRIP", lambda row: figures.milliseconds(row["round_trip"])),
    _Column("DIAL", lambda row: figures.milliseconds(row["dial_latency"] or None), True, True),
    _Column("CONNS", _text("connections")),
    _Column("PENDING", _text("pending_dials")),
    _Column("BUFFERED", _size("buffered_bytes"), True, True),
    _Column("CONNECTED", _seconds("connected_for")),
)
_CONNECTIONS = (
    _Column("DESTINATION", _text("destination"), False),
    _Column("THROUGH", _name("through"), False),
    _Column("SERVER", _name("server"), False, True),
    _Column("STATE", _state, False),
    _Column("AGE", _seconds("age")),
    _Column("TO/s", _size("to_per_s")),
    _Column("FROM/s", _size("from_per_s")),
    _Column("TO", _size("bytes_to_destination"), True, True),
    _Column("FROM", _size("bytes_from_destination"), True, True),
    _Column("BUFFERED", _size("buffered_bytes"), True, True),
)
_FAILURES = (
    _Column("AGO", _seconds("ago")),
    _Column("TIMES", _text("count")),
    _Column("REASON", _text("reason"), False, True),
    _Column("DESTINATION", _text("destination"), False),
    _Column("SERVER", _name("server"), False, True),
    _Column("TEXT", _text("text"), False),
)
_PATHS = (
    _Column("FOR", _seconds("since")),
    _Column("AGENT", _name("agent"), False),
    _Column("SERVER", _name("server"), False, True),
    _Column("PROBE", _text("probe"), False),
    _Column("STATE", _state, False),
    _Column("LAYER", _text("layer"), False),
    _Column("TEXT", _text("text"), False),
)
_DEPARTED = (
    _Column("AGO", _seconds("ago")),
    _Column("AGENT", _name("agent"), False),
    _Column("SERVER", _name("server"), False, True),
    _Column("CONNS", _text("connections")),
    _Column("REASON", _text("reason"), False),
)


def frame(board: Board, now: float, sort: str, size: tuple[int, int], keys: str = "") -> RenderableType:
    """Return the whole screen for a terminal of the given columns and lines."""
    width, height = size
    servers, agents = board.servers(now), board.agents()
    connections, failures, departed = board.connections(sort), board.failures(), board.departures()
    room = max(height - _HEADS - len(servers), 3 * _FEWEST)
    for_departed = min(len(departed), max(room // 6, _FEWEST))
    room = max(room - for_departed - 3, 3 * _FEWEST) if departed else room
    paths = board.paths()
    for_paths = min(len(paths), max(room // 5, _FEWEST))
    room = max(room - for_paths - 3, 3 * _FEWEST) if paths else room
    for_agents = min(len(agents), max(room // 3, _FEWEST))
    for_failures = min(len(failures), max(room // 5, _FEWEST))
    for_connections = max(room - for_agents - for_failures, _FEWEST)
    parts: list[RenderableType] = [_summary(board, servers, agents, keys)]
    parts.append(_table("Servers", [row for row in servers if row["state"] != "lost"], len(servers), _SERVERS, width))
    parts += [_trouble(row) for row in servers if row["why"]]
    parts.append(_table("Agents", agents, for_agents, _AGENTS, width))
    if paths:
        parts.append(_table("Paths that do not pass", paths, for_paths, _PATHS, width))
    if departed:
        parts.append(_table("Agents that left and did not come back", departed, for_departed, _DEPARTED, width))
    parts.append(_table(f"Connections by {sort}", connections, for_connections, _CONNECTIONS, width))
    if failures:
        parts.append(_table("Failed dials", failures, for_failures, _FAILURES, width))
    return Group(*parts)


def _summary(board: Board, servers: Sequence[Row], agents: Sequence[Row], keys: str) -> Text:
    text = Text.assemble(
        ("konnectivity top", "bold"), f"   {_many(board.known, 'server')}", overflow="ellipsis", no_wrap=True
    )
    if board.lost:
        text.append(f", {len(board.lost)} LOST", style="bold red")
    connections = sum(row.get("connections", 0) for row in servers)
    stalled = sum(row.get("stalled", 0) for row in servers)
    ids = {row["agent"] for row in agents}
    text.append(f"   {_many(len(ids), 'agent')}   {_many(connections, 'connection')}")
    text.append(f", {stalled} stalled", style="bold red" if stalled else "")
    text.append(f"   {keys}", style="dim")
    return text


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _trouble(row: Row) -> Text:
    """Return a line about a server that is lost or not ready."""
    server = figures.name(row["server"])
    name = server if server == row["address"] else f"{server} ({row['address']})"
    since = f" for {figures.seconds(row['lost_for'])}" if row["state"] == "lost" else ""
    state = str(row["state"]).upper()
    return Text.assemble(
        (f"{visible(name, MAX_CELL)} {visible(state)}{since}", "bold red"),
        (f": {visible(str(row['why']), MAX_CELL)}", "red"),
        overflow="ellipsis",
        no_wrap=True,
    )


def _table(title: str, rows: Sequence[Row], room: int, columns: Sequence[_Column], width: int) -> Group:
    """Return a table with whole numbers: long texts are cut, then optional columns are dropped from the right."""
    cut = f" (the first {room} of {len(rows)})" if len(rows) > room else ""
    cells = {column: [_cell(column, row) for row in rows[:room]] for column in columns}
    missable = [each for each in columns if each.missable]
    while (widths := _widths(columns, cells, width, MIN_TEXT)) is None and missable:
        gone = missable.pop()
        columns = [each for each in columns if each is not gone]
    widths = widths or _widths(columns, cells, width, 1)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for at, each in enumerate(columns):
        justify: JustifyMethod = "right" if each.number else "left"
        fixed = widths[at] if widths is not None else None
        table.add_column(each.head, justify=justify, no_wrap=True, overflow="ellipsis", width=fixed)
    for row in zip(*(cells[each] for each in columns), strict=True):
        table.add_row(*row)
    return Group(Text(f"\n{title}{cut}", style="bold cyan", overflow="ellipsis", no_wrap=True), table)


def _cell(column: _Column, row: Row) -> Text:
    cell = column.cell(row)
    return cell if isinstance(cell, Text) else Text(cell)  # rich takes a plain string for its markup


def _widths(
    columns: Sequence[_Column], cells: Mapping[_Column, Sequence[Text]], width: int, least: int
) -> list[int] | None:
    """Return the width of each column, the longest texts cut to one length; None if that is less than `least`."""
    natural = [max(len(each.head), *(cell.cell_len for cell in cells[each]), 0) for each in columns]
    texts = [size for each, size in zip(columns, natural, strict=True) if not each.number]
    most = width - _GAP * len(columns) - (sum(natural) - sum(texts))  # width of all texts together
    longest = max(texts, default=0)
    while sum(min(size, longest) for size in texts) > most:
        longest -= 1
        if longest < least:
            return None
    return [size if each.number else min(size, longest) for each, size in zip(columns, natural, strict=True)]

"""Command `konnectivity top`: shows servers, agents and connections, live, in the terminal."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from konnectivity.runtime.options import positive_duration
from konnectivity.tool import admin_client
from konnectivity.tool.cli import output
from konnectivity.tool.cli.plain_stream import unguarded
from konnectivity.tool.top.board import SERVER_SORTS, SORTS, Board
from konnectivity.tool.top.snapshots import Collector

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SHORTEST_S = 0.1
LISTED = 200  # connections asked of each server
_ONCE_HEIGHT, _FILE_WIDTH = 60, 160
_KEYS = "q quit, s sort, p pause"
_EXAMPLE = """\
keys: q quits, s changes the order of the connections, p pauses and resumes

exit code (with --once): 0, every server answered and is ready; 1, one is not; 2, none answered, or wrong usage

example:
  konnectivity top --admin 127.0.0.1:8133
  kubectl port-forward -n kube-system pod/konnectivity-server-a 8133:8133 &
  konnectivity top --admin 127.0.0.1:8133 --admin 127.0.0.1:9133 --once -o json
"""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "top",
        help="show servers, agents, connections, rates and stalls, live",
        description="Show servers, their agents and connections, rates, stalls and failed dials, live. It asks the "
        "servers' admin ports.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    admin_client.add_options(parser, several=True)
    admin_client.add_tenant_option(parser)
    parser.add_argument(
        "--interval", metavar="DURATION", default="1s", help="Time between two updates (default: %(default)s)."
    )
    parser.add_argument(
        "--timeout", metavar="DURATION", default="2s", help="Limit for each request (default: %(default)s)."
    )
    parser.add_argument(
        "--sort", choices=SORTS, default=SORTS[0], help="Order of the connections (default: %(default)s)."
    )
    parser.add_argument("--once", action="store_true", help="Print one result after two updates, and exit.")
    output.add_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code (listed in `_EXAMPLE`)."""
    try:
        interval_s = positive_duration("--interval", arguments.interval)
        timeout_s = positive_duration("--timeout", arguments.timeout)
        if interval_s < SHORTEST_S:
            raise ValueError(f"--interval={arguments.interval}: must be {SHORTEST_S:g}s or more")
        client = admin_client.client_of(arguments.admin_token_file, timeout_s, arguments.tenant)
    except (ValueError, admin_client.AdminError) as error:
        output.complain("top", error)
        return 2
    board = Board()
    collector = Collector(dict.fromkeys(arguments.admin or [admin_client.DEFAULT_ADDRESS]), client)
    try:
        if arguments.once or arguments.output != output.TABLE or not sys.stdout.isatty():
            return _once(board, collector, interval_s, arguments.sort, arguments.output)
        return _live(board, collector, interval_s, arguments.sort)
    finally:
        collector.close()


def _once(board: Board, collector: Collector, interval_s: float, sort: str, form: str) -> int:
    for pause_s in (interval_s, 0.0):
        board.take(collector.ask(LISTED, SERVER_SORTS[sort]))
        time.sleep(pause_s)
    found: dict[str, list[dict[str, Any]]] = {
        "servers": board.servers(monotonic()),
        "agents": board.agents(),
        "paths": board.paths(),
        "departed_agents": board.departures(),
        "connections": board.connections(sort),
        "failed_dials": board.failures(),
    }
    if form == output.TABLE:
        from rich.console import Console

        from konnectivity.tool.top.screen import frame

        console = Console(file=unguarded(), width=None if sys.stdout.isatty() else _FILE_WIDTH)
        console.print(frame(board, monotonic(), sort, (console.width, _ONCE_HEIGHT)))
    else:
        output.show(found, form)
    if len(board.lost) == board.known:
        return 2
    return int(any(row["state"] != "ready" for row in found["servers"]))


def _live(board: Board, collector: Collector, interval_s: float, sort: str) -> int:
    from rich.console import Console
    from rich.live import Live

    from konnectivity.tool.top.key_presses import Keys
    from konnectivity.tool.top.screen import frame

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # `sys.exit` restores the terminal
    console = Console(file=unguarded())
    paused = False
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            if not paused:
                board.take(collector.ask(LISTED, SERVER_SORTS[sort]))
            hint = f"{_KEYS} {'PAUSED' if paused else ''}".rstrip()
            live.update(frame(board, monotonic(), sort, console.size, hint), refresh=True)
            key = keys.wait(interval_s)
            if key == "q":
                return 0
            if key == "s":
                sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
            elif key == "p":
                paused = not paused

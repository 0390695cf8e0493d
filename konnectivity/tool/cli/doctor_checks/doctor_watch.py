"""Watch of `konnectivity doctor --watch`: asks the servers' admin ports until it is interrupted, and prints changes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from konnectivity.tool.admin_client import AdminClient, AdminError
from konnectivity.tool.cli import output
from konnectivity.tool.doctor import path_watch
from konnectivity.tool.doctor.path_watch import ServerAnswer, WatchFinding
from konnectivity.untrusted.untrusted_text import visible

INTERVAL_S = 1.0
MOST_AGENTS = 1000
_LONGEST = 1024  # characters of a text in a line


def watch(admins: Sequence[str], client: AdminClient, form: str, pause: Callable[[float], object] = time.sleep) -> int:
    """Print each change until an interrupt; return 1 if something fails at the end, else 0."""
    before: dict[path_watch.Key, WatchFinding] = {}
    _print(f"Watching {', '.join(admins)}. Changes follow; interrupt to end.", form)
    try:
        while True:
            now = path_watch.findings([_ask(each, client) for each in admins])
            for each in path_watch.changes(before, now):
                _show(each, form)
            before = now
            pause(INTERVAL_S)
    except KeyboardInterrupt:
        return int(any(each.status == path_watch.FAILED for each in before.values()))


def _ask(address: str, client: AdminClient) -> ServerAnswer:
    try:
        overview = client.get_json(address, "/api/v1/overview?history=0")
        agents = client.get_json(address, f"/api/v1/agents?limit={MOST_AGENTS}")["agents"]
        paths: Sequence[dict[str, object]] = ()
        if "paths" in overview:
            paths = client.get_json(address, f"/api/v1/paths?limit={MOST_AGENTS}")["paths"]
    except (AdminError, KeyError, TypeError) as error:
        return ServerAnswer(address, str(error))
    return ServerAnswer(address, "", overview, agents, paths)


def _show(finding: WatchFinding, form: str) -> None:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if form != output.TABLE:
        print(json.dumps({"time": at, **finding._asdict()}), flush=True)
        return
    do = f" (to do: {finding.do})" if finding.do and finding.status == path_watch.FAILED else ""
    text = f"{finding.where}: {finding.what}{do}"
    print(f"{at}  {finding.status:7}  {finding.layer:13}  {visible(text, _LONGEST)}", flush=True)


def _print(text: str, form: str) -> None:
    if form == output.TABLE:
        print(text, file=sys.stderr)

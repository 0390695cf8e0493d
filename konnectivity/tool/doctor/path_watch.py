"""Findings of a watch over servers: the layer at fault of each path, agent or server, and what changed since. Pure.

Takes what the admin ports answered. Asks no server, and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FAILED, SUSPECT, SKIPPED, OK = "failed", "suspect", "skipped", "ok"
COLUMNS = ("status", "layer", "where", "what", "do")
SERVER, AGENT, PROBES = "server", "agent", "probes"
_ADVICE = {
    "agent_frozen": "the agent's process and host: is it stopped, or short of CPU?",
    "agent_overloaded": "the agent's limits: open files, --process-buffer-budget",
    "policy": "the agent's --allow-destination and --deny-destination",
    "dns": "DNS of the agent's pod (dnsPolicy), and the name",
    "no_route": "routes of the agent's host",
    "refused": "the program at the target: does it run, at this address and port?",
    "no_answer": "a firewall or network policy between agent and target; is the target's host up?",
    "closed": "the program at the target",
    "silent": "the program at the target: it accepts connections and hangs",
    "tls": "the port: does the target speak TLS there?",
    "certificate": "renew the target's certificate",
    "authorisation": "the target's authorisation (for a kubelet: --client-ca-file, RBAC), and --probe-cert",
    "http": "the program at the target",
}
_NO_AGENTS = "the agents' --proxy-server-host and --server-count, a balancer that never picks this server"

Key = tuple[str, ...]


class WatchFinding(NamedTuple):
    """Finding about one path, agent or server."""

    status: str
    layer: str
    where: str
    what: str
    do: str = ""


class ServerAnswer(NamedTuple):
    """Answers of one server's admin port. With an `error` the others are empty."""

    address: str
    error: str = ""
    overview: Mapping[str, Any] = {}
    agents: Sequence[Mapping[str, Any]] = ()
    paths: Sequence[Mapping[str, Any]] = ()


def findings(answers: Sequence[ServerAnswer]) -> dict[Key, WatchFinding]:
    """Return what is wrong, by the server, agent and probe that it is about."""
    most = max((_streams(each) for each in answers), default=0)
    return {key: found for each in answers for key, found in _of_server(each, most, len(answers))}


def changes(before: Mapping[Key, WatchFinding], now: Mapping[Key, WatchFinding]) -> list[WatchFinding]:
    """Return the findings that are new or of another layer, and an `ok` for each that is over."""
    found = [each for key, each in now.items() if key not in before or _told(before[key]) != _told(each)]
    over = [each for key, each in before.items() if key not in now and each.status != SKIPPED]
    return found + [WatchFinding(OK, each.layer, each.where, "works again") for each in over]


def _told(finding: WatchFinding) -> tuple[str, str, str]:
    """Return the part of a finding whose change is worth a line: texts may hold a time."""
    return finding.status, finding.layer, finding.do


def _streams(answer: ServerAnswer) -> int:
    return int(answer.overview.get("agents", {}).get("streams", 0))


def _of_server(answer: ServerAnswer, most: int, servers: int) -> Iterator[tuple[Key, WatchFinding]]:
    address = answer.address
    if answer.error:
        yield (address,), WatchFinding(FAILED, SERVER, address, answer.error, "is the server running?")
        return
    if not _streams(answer):
        others = f", another server has {most}" if most and servers > 1 else ""
        what = f"server {answer.overview.get('id')} has no agents{others}"
        yield (address,), WatchFinding(FAILED, SERVER, address, what, _NO_AGENTS)
    if "paths" not in answer.overview:
        what = "the server has no --probe: only its agents are watched"
        yield (address, PROBES), WatchFinding(SKIPPED, PROBES, address, what)
    for agent in answer.agents:
        if agent.get("state") == "silent":
            name = str(agent.get("id"))
            yield (
                (address, name),
                WatchFinding(FAILED, AGENT, f"{address} {name}", "the agent answers no pings", _ADVICE["agent_frozen"]),
            )
    for row in answer.paths:
        yield from _of_agent(address, row)


def _of_agent(address: str, row: Mapping[str, Any]) -> Iterator[tuple[Key, WatchFinding]]:
    for probe, path in row.get("paths", {}).items():
        if path.get("state") not in ("failing", "suspect"):
            continue
        status = FAILED if path["state"] == "failing" else SUSPECT
        where = f"{address} {row.get('agent')} {probe}"
        what = f"{path.get('target')}: {path.get('text')}"
        do = _ADVICE.get(str(path.get("reason")), "")
        yield (address, str(row.get("agent")), probe), WatchFinding(status, str(path.get("layer")), where, what, do)

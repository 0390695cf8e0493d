"""Writer of the Grafana dashboard docs/operate/monitoring/dashboard.json from the table below (--check: compare)."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple

from generated_files import ROOT, write_or_check

FILE = ROOT / "docs" / "operate" / "monitoring" / "dashboard.json"
PREFIX = "konnectivity_network_proxy_"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = '{job=~"$job", instance=~"$instance"'
COLUMNS, HEIGHT, STAT_HEIGHT = 24, 8, 4


class Panel(NamedTuple):
    """Panel of the dashboard. In queries, `@name` is a metric of ours for the chosen instances, `@@name` any other one.

    Args:
        queries: what a line is called -> PromQL.
        stat: whether to show only the value of now.

    """

    title: str
    text: str
    unit: str
    queries: dict[str, str]
    stat: bool = False
    width: int = 8


def rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate(@{name}[$__rate_interval]))"


def quantiles(name: str) -> dict[str, str]:
    shares = {"half": 0.5, "9 of 10": 0.9, "99 of 100": 0.99}
    return {
        text: f"histogram_quantile({share}, sum by (le) (rate(@{name}_bucket[$__rate_interval])))"
        for text, share in shares.items()
    }


ROWS: dict[str, list[Panel]] = {
    "Now": [
        Panel(
            "Agents",
            "The fewest that any of the servers has.",
            "short",
            {"agents": 'min(@server_ready_backends{proxy_strategy="default"})'},
            True,
            4,
        ),
        Panel(
            "Servers of an agent",
            "The fewest that any of the agents has.",
            "short",
            {"servers": "min(@agent_open_server_connections)"},
            True,
            4,
        ),
        Panel(
            "Connections",
            "Through agents, now.",
            "short",
            {"connections": "sum(@server_established_connections)"},
            True,
            4,
        ),
        Panel(
            "Stalled",
            "Of these: frontends that do not read.",
            "short",
            {"stalled": "sum(@server_stalled_connections)"},
            True,
            4,
        ),
        Panel(
            "Buffer memory",
            "What waits, as a share of what may.",
            "percentunit",
            {"used": 'max(@server_buffered_bytes / on (job, instance) @server_buffer_budget_bytes{scope="process"})'},
            True,
            4,
        ),
        Panel(
            "First certificate to expire",
            "Of servers and agents.",
            "s",
            {
                "in": "min(@server_certificate_expiry_timestamp_seconds or @agent_certificate_expiry_timestamp_seconds)"
                " - time()"
            },
            True,
            4,
        ),
    ],
    "Servers": [
        Panel(
            "Agents of each server",
            "By strategy.",
            "short",
            {"{{instance}} {{proxy_strategy}}": "@server_ready_backends"},
        ),
        Panel(
            "Dials",
            "Answered with yes.",
            "cps",
            {"{{instance}}": rate("server_dial_duration_seconds_count", "instance")},
        ),
        Panel(
            "Failed dials",
            "By reason: docs/reference/metrics.md.",
            "cps",
            {"{{reason}}": rate("server_dial_failure_count", "reason")},
        ),
        Panel("Duration of dials", "From asking an agent to its yes.", "s", quantiles("server_dial_duration_seconds")),
        Panel(
            "Failing paths",
            "With --probe: agents through which a probe fails.",
            "short",
            {"{{probe}}": 'sum by (probe) (@server_paths{state="failing"})'},
        ),
        Panel(
            "Round trip to agents",
            "Of pings, which go to silent agents.",
            "s",
            quantiles("server_tunnel_round_trip_seconds"),
        ),
        Panel("Payload", "To and from agents.", "Bps", {"{{direction}}": rate("server_bytes_total", "direction")}),
        Panel("Connections", "Through agents.", "short", {"{{instance}}": "@server_established_connections"}),
        Panel(
            "Ended connections",
            "By cause and side: docs/operate/logging.md.",
            "cps",
            {"{{cause}} {{side}}": rate("server_connections_closed_total", "cause, side")},
        ),
        Panel(
            "Frontends",
            "CONNECT clients and gRPC streams.",
            "short",
            {
                "CONNECT": "sum(@server_http_connections)",
                "gRPC": 'sum(@server_grpc_connections{service_method="Proxy"})',
            },
        ),
    ],
    "Trouble": [
        Panel(
            "Stalled connections",
            "Somebody does not read: frontends on servers, targets on agents.",
            "short",
            {"server {{instance}}": "@server_stalled_connections", "agent {{instance}}": "@agent_stalled_connections"},
        ),
        Panel(
            "Buffered",
            "Bytes that wait, and what may wait.",
            "bytes",
            {
                "server {{instance}}": "@server_buffered_bytes",
                "agent {{instance}}": "@agent_buffered_bytes",
                "server's budget": 'max(@server_buffer_budget_bytes{scope="process"})',
            },
        ),
        Panel(
            "Held streams",
            "Of peers without the extension.",
            "cps",
            {"server": rate("server_stream_holds_total", "job"), "agent": rate("agent_stream_holds_total", "job")},
        ),
        Panel(
            "Limits reached",
            "docs/secure/limits.md.",
            "cps",
            {"{{limit}}": rate("server_limits_reached_total", "limit")},
        ),
        Panel(
            "Refused agents",
            "For their token, for their claims, and ids that are taken.",
            "cps",
            {
                "token: {{reason}}": rate("server_agents_refused_total", "reason"),
                "claim: {{claim}}": rate("server_agent_claims_refused_total", "claim"),
                "id is taken": rate("server_agent_id_conflicts_total", "job"),
            },
        ),
        Panel(
            "Streams that ended with an error",
            "By who was at the other end.",
            "cps",
            {
                "server: {{segment}} {{code}}": rate("server_stream_errors_total", "segment, code"),
                "agent: {{segment}} {{code}}": rate("agent_stream_errors_total", "segment, code"),
            },
        ),
    ],
    "Agents": [
        Panel(
            "Servers",
            "Connected, and how many there are.",
            "short",
            {"{{instance}}": "@agent_open_server_connections", "there are": "max(@agent_known_server_count)"},
        ),
        Panel("Failed dials", "By reason.", "cps", {"{{reason}}": rate("agent_endpoint_dial_failure_total", "reason")}),
        Panel(
            "Denied dials", "By the agents' policy.", "cps", {"{{reason}}": rate("agent_dials_denied_total", "reason")}
        ),
        Panel("Duration of dials", "With the look-up of names.", "s", quantiles("agent_dial_duration_seconds")),
        Panel("Connections to targets", "Now.", "short", {"{{instance}}": "@agent_open_endpoint_connections"}),
        Panel("Payload", "To and from servers.", "Bps", {"{{direction}}": rate("agent_bytes_total", "direction")}),
    ],
    "Kubernetes and processes": [
        Panel(
            "Leases",
            "Requests to the Kubernetes API, by status.",
            "cps",
            {
                "server: list {{http_status_code}}": rate("server_lease_list_total", "http_status_code"),
                "agent: list {{http_response_code}}": rate("agent_lease_lists_total", "http_response_code"),
                "agent: watch {{http_response_code}}": rate("agent_lease_watches_total", "http_response_code"),
            },
        ),
        Panel(
            "CPU",
            "Of a core.",
            "percentunit",
            {"{{job}} {{instance}}": "rate(@@process_cpu_seconds_total[$__rate_interval])"},
        ),
        Panel("Memory", "Resident.", "bytes", {"{{job}} {{instance}}": "@@process_resident_memory_bytes"}),
        Panel("Open files", "Each connection is one.", "short", {"{{job}} {{instance}}": "@@process_open_fds"}),
        Panel("Token reviews", "Until the API's verdict.", "s", quantiles("server_token_review_seconds")),
        Panel(
            "Worker restarts",
            "With --workers.",
            "cps",
            {"{{instance}}": rate("server_worker_restarts_total", "instance")},
        ),
    ],
}


def query(text: str) -> str:
    """Return PromQL with full names and labels."""
    return re.sub(r"(@@?)(\w+)({)?", _selected, text)


def _selected(found: re.Match[str]) -> str:
    prefix = PREFIX if found[1] == "@" else ""
    return f"{prefix}{found[2]}{CHOSEN}{', ' if found[3] else '}'}"


def panel(number: int, wanted: Panel, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query(text), "legendFormat": name}
        for index, (name, text) in enumerate(wanted.queries.items())
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": "stat" if wanted.stat else "timeseries",
        "title": wanted.title,
        "description": wanted.text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": wanted.width, "h": STAT_HEIGHT if wanted.stat else HEIGHT},
        "fieldConfig": {"defaults": {"unit": wanted.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
    if wanted.stat:
        del made["fieldConfig"]["defaults"]["min"]
    return made


def panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        x, y, height = 0, y + 1, 0
        for each in row:
            if x + each.width > COLUMNS:
                x, y = 0, y + height
            height = STAT_HEIGHT if each.stat else HEIGHT
            made.append(panel(len(made) + 1, each, x, y))
            x += each.width
        y += height
    return made


def variable(name: str, label: str, values: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": values, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> dict[str, Any]:
    anything = '{__name__=~"konnectivity_network_proxy_(server_http_connections|agent_open_server_connections)"'
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
    return {
        "uid": "konnectivity",
        "title": "Konnectivity",
        "description": "Proxy servers and agents: docs/reference/metrics.md says what each figure is.",
        "tags": ["konnectivity", "kubernetes"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {
            "list": [
                source,
                variable("job", "Job", f"label_values({anything}}}, job)"),
                variable("instance", "Instance", f'label_values({anything}, job=~"$job"}}, instance)'),
            ]
        },
        "panels": panels(),
    }


if __name__ == "__main__":
    sys.exit(write_or_check({FILE: json.dumps(dashboard(), indent=2) + "\n"}))

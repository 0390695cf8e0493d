"""Tests of docs/operate/monitoring/rules.yaml by `promtool`: each alert fires in its trouble, and only then."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs/operate/monitoring/rules.yaml"
PROMTOOL = shutil.which("promtool")
ALERTS = [
    rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule
]
SERVER, AGENT = 'job="server", instance="s"', 'job="agent", instance="a"'
OTHER_SERVER = 'konnectivity_network_proxy_server_http_connections{job="server", instance="s2"}'
READY = tuple(
    f'konnectivity_network_proxy_server_ready_backends{{{SERVER}, proxy_strategy="{x}"}}'
    for x in ("default", "destHost")
)
DAY_S = 86400

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")


def server(name, labels=""):
    return f"konnectivity_network_proxy_server_{name}{{{SERVER}{labels and ', '}{labels}}}"


def agent(name, labels=""):
    return f"konnectivity_network_proxy_agent_{name}{{{AGENT}{labels and ', '}{labels}}}"


def buckets(family, *, half_s="0+60x120", two_and_a_half_s="0+60x120"):
    counts = {"0.025": "0+30x120", "0.5": half_s, "2.5": two_and_a_half_s, "5": "0+60x120", "+Inf": "0+60x120"}
    return {server(f"{family}_bucket", f'le="{le}"'): count for le, count in counts.items()}


# Samples of two hours, one per minute.
HEALTHY = {
    **{f'kube_node_info{{node="{each}"}}': "1x120" for each in range(3)},
    server("ready_backends", 'proxy_strategy="default"'): "3x120",
    server("ready_backends", 'proxy_strategy="destHost"'): "3x120",
    server("peers", 'state="other"'): "0x120",
    server("data_plane_available"): "1x120",
    server("paths", 'probe="kubelet", state="failing"'): "0x120",
    server("dial_duration_seconds_count"): "0+60x120",
    **buckets("dial_duration_seconds"),
    **buckets("tunnel_round_trip_seconds"),
    server("dial_failure_count", 'reason="no_agent"'): "10x120",
    server("dial_failure_count", 'reason="error_response"'): "0+1x120",
    server("long_reads_total"): "0+1x120",
    server("limits_reached_total", 'limit="header_list"'): "5x120",
    server("tls_handshake_failures_total", 'listener="agents", reason="closed"'): "0+60x120",
    server("tls_handshake_failures_total", 'listener="agents", reason="expired"'): "3x120",
    server("agents_refused_total", 'reason="token"'): "1x120",
    server("agent_claims_refused_total", 'claim="ipv4"'): "1x120",
    server("agent_id_conflicts_total"): "0x120",
    server("audit_lines_dropped_total"): "0x120",
    server("tracing_spans_dropped_total"): "4096x120",
    server("worker_restarts_total"): "1x120",
    server("lease_list_total", 'http_status_code="200", reason=""'): "0+6x120",
    server("lease_delete_total", 'http_status_code="404", reason="NotFound"'): "0+1x120",
    agent("open_server_connections"): "2x120",
    agent("known_server_count"): "2x120",
    agent("lease_lists_total", 'http_response_code="200", reason=""'): "0+1x120",
    agent("lease_watches_total", 'http_response_code="410", reason="Expired"'): "0+1x120",
    agent("dials_denied_total", 'reason="denied"'): "3x120",
    agent("open_endpoint_connections"): "100x120",
    server("established_connections"): "100x120",
    server("http_connections"): "100x120",
    OTHER_SERVER: "5x120",
    f"up{{{SERVER}}}": "1x120",
    f"up{{{AGENT}}}": "1x120",
    server("suspected_backends_total"): "1x120",
    agent("suspected_servers_total"): "1x120",
    **{
        series: value
        for program in (server, agent)
        for series, value in {
            program("buffered_bytes"): "1000x120",
            program("buffer_budget_bytes", 'scope="process"'): "1000000x120",
            program("buffer_budget_bytes", 'scope="tunnel"'): "1000x120",
            program("dials_refused_total"): "0x120",
            program("log_lines_dropped_total"): "3x120",
            program("stalled_connections"): "20x120",
            program("stream_holds_total"): "4x120",
            program("certificate_expiry_timestamp_seconds", 'end="agents", kind="ca"'): f"{90 * DAY_S}x120",
            program("tls_reload_failures_total", 'end="agents"'): "0x120",
        }.items()
    },
    **{f"process_start_time_seconds{{{each}}}": "5x120" for each in (SERVER, AGENT)},
    **{f"process_open_fds{{{each}}}": "100x120" for each in (SERVER, AGENT)},
    **{f"process_max_fds{{{each}}}": "1024x120" for each in (SERVER, AGENT)},
}
LATE = "0x60 0+60x60"
ONCE = "0x95 1x25"  # one event, five minutes before the end
GONE = "3x60 _x60"
# (alert, changed series, further alerts that fire with it); each entry changes one thing.
TROUBLE = [
    ("KonnectivityServerGone", dict.fromkeys(READY, GONE)),
    (  # the machine with all programs is off
        "KonnectivityServerGone",
        dict.fromkeys(READY, GONE) | {f"up{{{SERVER}}}": "1x60 0x60", server("http_connections"): GONE},
        "KonnectivityServerDown",
        "KonnectivityServersMissing",
    ),
    ("KonnectivityServerDown", {f"up{{{SERVER}}}": "1x60 0x60"}),
    ("KonnectivityServersMissing", {OTHER_SERVER: GONE}),
    ("KonnectivityServerNotScraped", dict.fromkeys(READY)),
    (  # a static pod whose health port cannot be scraped: one warning; agents' metrics are there
        "KonnectivityServerNotScraped",
        {f"up{{{SERVER}}}": "0x120", OTHER_SERVER: None}
        | {each: None for each in HEALTHY if "_server_" in each.partition("{")[0] and SERVER in each},
    ),
    ("KonnectivityNoAgent", dict.fromkeys(READY, "0x120"), "KonnectivityAgentsMissing"),
    ("KonnectivityAgentsMissing", {server("ready_backends", 'proxy_strategy="default"'): "2x120"}),
    ("KonnectivityNoPath", {server("data_plane_available"): "0x120"}),
    ("KonnectivityPathsFail", {server("paths", 'probe="kubelet", state="failing"'): "1x120"}),
    ("KonnectivityPeersMissing", {server("peers", 'state="other"'): "1x120"}),
    ("KonnectivityDialsFail", {server("dial_failure_count", 'reason="backend_dial_timeout"'): "0+6x120"}),
    ("KonnectivityTargetsFail", {server("dial_failure_count", 'reason="error_response"'): "0+90x120"}),
    ("KonnectivityDialsSlow", buckets("dial_duration_seconds", half_s="0+40x120", two_and_a_half_s="0+50x120")),
    ("KonnectivityTunnelSlow", buckets("tunnel_round_trip_seconds", half_s="0+50x120")),
    ("KonnectivityLongReads", {server("long_reads_total"): "0+600x120"}),
    ("KonnectivityLimitsReached", {server("limits_reached_total", 'limit="header_list"'): "0+60x120"}),
    (
        "KonnectivityHandshakesFail",
        {server("tls_handshake_failures_total", 'listener="agents", reason="unknown_authority"'): "0+3x120"},
    ),
    ("KonnectivityAgentsRefused", {server("agents_refused_total", 'reason="token"'): LATE}),
    ("KonnectivityAgentsRefused", {server("agent_claims_refused_total", 'claim="ipv4"'): LATE}),
    ("KonnectivityAgentIdTaken", {server("agent_id_conflicts_total"): LATE}),
    ("KonnectivityAuditLinesLost", {server("audit_lines_dropped_total"): LATE}),
    ("KonnectivityTracingSpansLost", {server("tracing_spans_dropped_total"): LATE}),
    ("KonnectivityWorkerRestarts", {server("worker_restarts_total"): LATE}),
    ("KonnectivityServerLeaseTrouble", {server("lease_list_total", 'http_status_code="0", reason=""'): "0+6x120"}),
    ("KonnectivityServerLeaseTrouble", {server("lease_delete_total", 'http_status_code="403", reason=""'): "0+6x120"}),
    (
        "KonnectivityAgentNoServer",
        {agent("open_server_connections"): "0x120"},
        "KonnectivityAgentMissesServers",
    ),
    ("KonnectivityAgentMissesServers", {agent("open_server_connections"): "1x120"}),
    ("KonnectivityAgentLeaseTrouble", {agent("lease_lists_total", 'http_response_code="403", reason=""'): "0+1x120"}),
    ("KonnectivityAgentLeaseTrouble", {agent("lease_watches_total", 'http_response_code="0", reason=""'): "0+1x120"}),
    ("KonnectivitySilent", {server("suspected_backends_total"): ONCE}),
    ("KonnectivitySilent", {agent("suspected_servers_total"): ONCE}),
    ("KonnectivityPolicyDenies", {agent("dials_denied_total", 'reason="denied"'): "0+1x120"}),
    *[
        entry
        for program in (server, agent)
        for entry in (
            ("KonnectivityLogLinesLost", {program("log_lines_dropped_total"): LATE}),
            ("KonnectivityMemoryNearlySpent", {program("buffered_bytes"): "900000x120"}),
            ("KonnectivityMemorySpent", {program("dials_refused_total"): LATE}),
            ("KonnectivityStalls", {program("stalled_connections"): "30x120"}),
            ("KonnectivityStreamsHeld", {program("stream_holds_total"): LATE}),
            (
                "KonnectivityCertificateExpires",
                {program("certificate_expiry_timestamp_seconds", 'end="agents", kind="ca"'): f"{5 * DAY_S}x120"},
            ),
            (
                "KonnectivityCertificateExpiresToday",
                {program("certificate_expiry_timestamp_seconds", 'end="agents", kind="ca"'): f"{DAY_S // 2}x120"},
                "KonnectivityCertificateExpires",
            ),
            ("KonnectivityTlsReloadFails", {program("tls_reload_failures_total", 'end="agents"'): LATE}),
        )
    ],
    *[
        entry
        for labels in (SERVER, AGENT)
        for entry in (
            ("KonnectivityRestarts", {f"process_start_time_seconds{{{labels}}}": "5+60x120"}),
            ("KonnectivityFilesNearlySpent", {f"process_open_fds{{{labels}}}": "900x120"}),
        )
    ],
]


def unit_test(name, changes, firing):
    """Return a unit test for promtool in which exactly these alerts fire after 100 minutes."""
    series = {each: value for each, value in {**HEALTHY, **changes}.items() if value is not None}
    expected = [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in sorted(set(firing))]
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": value} for each, value in series.items()],
        "promql_expr_test": [
            {
                "expr": 'min by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "100m",
                "exp_samples": expected,
            }
        ],
    }


def promtool(*arguments):
    ran = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@needs_promtool
def test_the_rules_are_rules():
    assert f"{len(ALERTS) + 1} rules found" in promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_in_its_trouble_and_no_other(tmp_path):
    tests = [unit_test("all is well", {}, [])]
    tests += [unit_test(f"{name}: {', '.join(changes)}", changes, (name, *more)) for name, changes, *more in TROUBLE]
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", tmp_path / "tests.yaml")


@needs_promtool
def test_what_an_alert_says(tmp_path):
    """The text of an alert is checked when it fires, because only then its template is filled in."""
    expected = {
        "exp_labels": {
            "severity": "warning",
            "job": "server",
            "instance": "s",
            "end": "agents",
            "kind": "ca",
        },
        "exp_annotations": {"summary": "A ca of s (agents) expires in 4d 22h 20m 0s."},
    }
    changes = {server("certificate_expiry_timestamp_seconds", 'end="agents", kind="ca"'): f"{5 * DAY_S}x120"}
    test = unit_test("expiry", changes, ["KonnectivityCertificateExpires"])
    test["alert_rule_test"] = [
        {"eval_time": "100m", "alertname": "KonnectivityCertificateExpires", "exp_alerts": [expected]}
    ]
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", tmp_path / "tests.yaml")


def test_each_alert_has_been_tried():
    assert {name for name, *_ in TROUBLE} == set(ALERTS)
    assert len(set(ALERTS)) == len(ALERTS)


def test_each_alert_is_explained():
    """The page named by the rules explains each alert under the heading Alerts."""
    page = (ROOT / "docs/operate/alerts.md").read_text()
    section = page.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(Konnectivity\w+)`", section, re.MULTILINE) == ALERTS

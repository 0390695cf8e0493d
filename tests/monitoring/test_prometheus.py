"""Tests of the alert rules in a real Prometheus that scrapes real programs: an agent freezes, a server dies."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from konnectivity.testing.deployment import Deployment, free_port

RULES = Path(__file__).resolve().parents[2] / "docs/operate/monitoring/rules.yaml"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is missing: apt-get install prometheus")


@contextmanager
def prometheus(directory, **targets):
    """Scrape `targets`, by job, each second; yield a function that returns the alerts in a given state."""
    port = free_port()
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{health_port}"]}]}
            for job, health_port in targets.items()
        ],
    }
    config = directory / "prometheus.yaml"
    config.write_text(yaml.safe_dump(document))
    log = (directory / "prometheus.log").open("wb")
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen([PROMETHEUS, *arguments], stdout=log, stderr=log)

    def query(expression):
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={quote(expression)}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]

    try:
        until(lambda: query("count(up == 1)"), process)
        yield lambda state: {each["metric"]["alertname"] for each in query(f'ALERTS{{alertstate="{state}"}}')}
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def until(condition, process, seconds=40):
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            assert process is None or process.poll() is None, "prometheus ended"
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.2)


def test_a_frozen_agent_and_a_dead_server(tmp_path):
    site = Deployment(tmp_path)
    try:
        server = site.start_server("--heartbeat-interval=1s")
        agent = site.start_agent()
        targets = {"server": site.health_port, "agent": agent.health_port}
        with prometheus(tmp_path, **targets) as alerts:
            time.sleep(3)
            assert "KonnectivitySilent" not in alerts("firing")
            agent.send(signal.SIGSTOP)
            until(lambda: "KonnectivitySilent" in alerts("firing"), None)
            until(lambda: "KonnectivityNoAgent" in alerts("pending"), None)
            agent.send(signal.SIGCONT)
            until(lambda: "KonnectivityNoAgent" not in alerts("pending"), None)
            server.send(signal.SIGKILL)
            until(lambda: {"KonnectivityServerDown", "KonnectivityServerGone"} <= alerts("pending"), None)
            assert "KonnectivityServerNotScraped" not in alerts("pending")
    finally:
        site.stop()

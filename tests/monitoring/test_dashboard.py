"""Tests of docs/operate/monitoring/dashboard.json by Grafana's own types, and of its queries by Prometheus' parser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs/operate/monitoring/dashboard.json"
DASHBOARD = json.loads(FILE.read_text())
PANELS = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
QUERIES = [target["expr"] for each in PANELS for target in each["targets"]]
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def reader():
    if shutil.which("go") is None and not Path("/usr/local/go/bin/go").exists():
        pytest.skip("Go is missing: apt-get install golang-go")
    subprocess.run(["sh", ROOT / "tests/monitoring/build.sh"], check=True, timeout=500)
    return ROOT / ".cache/bin/grafana-dashboard"


def read(reader, path):
    return subprocess.run([reader, path], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.timeout(600)  # the first run compiles Grafana's types
def test_grafana_takes_it_and_loses_nothing(reader):
    found = read(reader, FILE)
    assert found.returncode == 0, found.stderr
    understood = json.loads(found.stdout)
    assert [each["title"] for each in understood["panels"]] == [each["title"] for each in DASHBOARD["panels"]]
    assert understood["panels"][1]["targets"][0]["expr"] == QUERIES[0]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"fieldConfig"', '"fieldConfg"'),
        ('"w": 8', '"w": "wide"'),
        ('"expr"', '"promql"'),
        ('"editable": true', '"editable": 1'),
    ],
)
def test_it_would_not_take_mistakes(reader, tmp_path, right, wrong):
    (tmp_path / "wrong.json").write_text(FILE.read_text().replace(right, wrong))
    assert read(reader, tmp_path / "wrong.json").returncode == 1


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")
def test_its_queries_are_promql(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    ran = subprocess.run(
        [PROMTOOL, "check", "rules", tmp_path / "queries.yaml"], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_panels_lie_side_by_side():
    taken = set()
    for each in DASHBOARD["panels"]:
        place = each["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, each["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({each["id"] for each in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_query_is_for_the_chosen_instances():
    for query in QUERIES:
        names = re.findall(r"\b(?:konnectivity_network_proxy|process)_\w+", query)
        assert query.count('{job=~"$job", instance=~"$instance"') == len(names) > 0


def test_it_is_what_the_table_says():
    subprocess.run([sys.executable, ROOT / "scripts/dashboard.py", "--check"], check=True, timeout=30)

"""`konnectivity explain`, with the argument lists of deployers of the reference."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest
import yaml

from support.checkout import DEPLOYERS as DEPLOYERS_FILE

DEPLOYERS = tomllib.loads(DEPLOYERS_FILE.read_text())
LISTS = [(name, program) for name in DEPLOYERS for program in ("server", "agent")]


def explain(*arguments, **environment):
    command = [sys.executable, "-m", "konnectivity.tool.cli", "explain", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(("name", "program"), LISTS, ids=[" ".join(each) for each in LISTS])
def test_every_deployer_s_arguments_would_start(name, program):
    done = explain("-o", "json", "--", f"/proxy-{program}", *DEPLOYERS[name][program].split())
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["program"] == f"proxy-{program}"
    assert {each["status"] for each in found["findings"]} <= {"warning"}
    assert all(each["do"] and each["what"] for each in found["findings"])


def test_the_program_is_guessed_from_its_flags():
    for program in ("server", "agent"):
        done = explain("-o", "yaml", "--", *DEPLOYERS["kamaji"][program].split())
        assert yaml.safe_load(done.stdout)["program"] == f"proxy-{program}"
    unclear = explain("--", "--v=2")
    assert unclear.returncode == 2
    assert "write proxy-server or proxy-agent" in unclear.stderr


def test_pitfalls_of_known_deployments():
    def checks(name, program):
        done = explain("-o", "json", "--", f"proxy-{program}", *DEPLOYERS[name][program].split())
        return {(each["check"], each["where"]) for each in json.loads(done.stdout)["findings"]}

    assert ("unexpanded", "--agent-identifiers") in checks("kind-multinode", "agent")
    assert ("no-default", "--proxy-strategies") in checks("hypershift", "server")
    assert ("log-volume", "-v") in checks("kamaji", "agent")
    assert ("grace", "--graceful-shutdown-timeout") in checks("k0s", "server")


def test_the_table_has_three_parts_and_what_to_do():
    done = explain("--", "proxy-agent", "--proxy-server-host=k.example", "--ca-cert=/no/ca.crt", "--alpn-prot=x")
    assert done.returncode == 1
    for text in ("Summary of the arguments of proxy-agent", "k.example:8091", "Mistakes", "To do"):
        assert text in done.stdout
    assert "unknown flag: --alpn-prot; did you mean --alpn-proto?" in done.stdout
    assert "* file (warning; --ca-cert)" in done.stdout


def test_where_a_value_comes_from(tmp_path):
    config = tmp_path / "agent.yaml"
    config.write_text("sync-forever: true\nproxy-server-host: k.example\nca-cert: ca\n")
    given = ["--", "proxy-agent", f"--config={config}"]
    found = json.loads(explain("-o", "json", *given, PROXY_AGENT_ID="me").stdout)["options"]
    assert {each["option"]: each["from"] for each in found} == {
        "proxy-server-host": "file, line 2",
        "ca-cert": "file, line 3",
        "sync-forever": "file, line 1",
        "agent-id": "environment PROXY_AGENT_ID",
        "config": "flag --config",
    }
    everything = json.loads(explain("-o", "json", "--all", *given).stdout)["options"]
    assert {"option": "v", "value": "4", "from": "default", "default": "4"} in everything


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give the arguments of one program"),
        (["--", "proxy-agent", "proxy-server"], "give the arguments of one program"),
        (["--", "proxy-agent", "--help"], "--help is among"),
    ],
)
def test_wrong_usage(arguments, text):
    done = explain(*arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_proxy_that_cannot_be_used():
    given = ["--", "proxy-agent", "--ca-cert=ca", "--proxy-server-host=k.example"]
    done = explain(*given, HTTPS_PROXY="ftp://x")
    assert done.returncode == 1
    assert "environment variable HTTPS_PROXY: only HTTP proxies" in done.stdout

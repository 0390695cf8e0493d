"""Advice on proxy-agent's options: each known pitfall is found, and nothing else is reported."""

from __future__ import annotations

import pytest

from konnectivity.runtime.options import existing_file, read
from konnectivity_agent.agent_advice import POD_TOKEN, amounts_to, pitfalls
from konnectivity_agent.agent_options import AgentOptions

GOOD = ["--proxy-server-host=k.example", "--ca-cert=ca", "--agent-cert=c", "--agent-key=k", "--sync-forever"]


def options(*arguments):
    found, problems = read(AgentOptions, arguments, {}, (existing_file,))
    assert problems == []
    return found


def test_good_options_have_none():
    assert pitfalls(options(*GOOD)) == []


@pytest.mark.parametrize(
    ("arguments", "check", "text"),
    [
        (["--sync-forever=false"], "scaling", "servers of the reference"),
        (["--proxy-server-host=10.0.0.1:443"], "sni", "SNI"),
        (["--agent-cert=", "--agent-key="], "credential", "neither"),
        ([f"--service-account-token-path={POD_TOKEN}"], "token-audience", "pod's own token"),
        (["--count-server-leases"], "leases", "get, list and watch"),
        (["--agent-identifiers=ipv4=${HOST_IP}"], "unexpanded", "${HOST_IP}"),
        (["--agent-identifiers=ipv4=fd00::1"], "identifier", "ipv4=fd00::1"),
        (["--agent-identifiers=host=a&cidr=10.0.0.0/99"], "identifier", "cidr=10.0.0.0/99"),
        (["--heartbeat-interval=0"], "silence", "a server that is gone"),
        (["--drain-timeout=0"], "grace", "killed"),
        (["--drain-timeout=1m"], "grace", "terminationGracePeriodSeconds"),
        (["--process-buffer-budget=64Mi"], "memory", "64 MiB"),
        (["--process-buffer-budget=8Mi"], "memory", "8 MiB"),
        (["--admin-bind-address=0.0.0.0"], "admin-port", "nobody is asked"),
        (["--admin-server-port=8093"], "ports", "--health-server-port has"),
        (["-v=8"], "log-volume", "8"),
        (["--probe-interval=5s"], "no-effect", "noticed at once"),
    ],
)
def test_each_is_found_alone(arguments, check, text):
    good = [each for each in GOOD if each.partition("=")[0] not in {one.partition("=")[0] for one in arguments}]
    found = pitfalls(options(*good, *arguments))
    assert [each.check for each in found] == [check]
    assert text in found[0].what
    assert found[0].do


def test_no_server_is_named():
    assert "server" in [each.check for each in pitfalls(options(*GOOD[1:]))]


def test_what_they_amount_to():
    agent = options(*GOOD, "--agent-identifiers=default-route=true", "--deny-destination=10.0.0.0/8")
    facts = amounts_to(agent, {"HTTPS_PROXY": "http://user:secret@proxy.example:3128"})
    assert facts["servers"] == "k.example:8091"
    assert facts["through the proxy"] == "proxy.example:3128"
    assert facts["may dial"] == "everything but cloud metadata, but not 10.0.0.0/8"
    assert amounts_to(agent, {"HTTPS_PROXY": "ftp://x"})["through the proxy"] == "HTTPS_PROXY cannot be used"

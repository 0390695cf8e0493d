"""Options of proxy-agent that are refused."""

from __future__ import annotations

import pytest

from konnectivity.runtime.options import UsageError, parse
from konnectivity_agent.agent_options import AgentOptions


@pytest.fixture
def ca(tmp_path):
    (tmp_path / "ca.crt").write_text("x")
    return f"--ca-cert={tmp_path}/ca.crt"


def options(*argv, environ=None):
    return parse(AgentOptions, argv, environ or {}, "proxy-agent")


def test_forms_a_launcher_uses(ca):
    found = options(ca, "--agent-identifiers=", "--alpn-proto=[]", "--keepalive-time=1h0m0s", "-v=8", "positional")
    assert found.alpn_proto == ()
    assert found.keepalive_time == 3600
    assert found.verbosity == 8


def test_the_literal_that_manifests_pass_unexpanded(ca):
    assert options(ca, "--agent-identifiers=ipv4=${HOST_IP}").agent_identifiers == "ipv4=${HOST_IP}"


def test_the_id_comes_from_flag_then_environment(ca):
    assert options(ca, environ={"PROXY_AGENT_ID": "e"}).agent_id == "e"
    assert options(ca, "--agent-id=f", environ={"PROXY_AGENT_ID": "e"}).agent_id == "f"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--agent-identifiers=uid=1", "unknown address type: uid"),
        ("--agent-id= node-1", "--agent-id: the agent id begins or ends with a space"),
        ("--agent-id=node-1\n", "--agent-id: the agent id has control characters"),
        (f"--agent-id={'n' * 257}", "--agent-id: the agent id has 257 characters; at most 256 are allowed"),
        ("--agent-identifiers=ipv4=1;2", "agent address is invalid"),
        ("--agent-cert=/etc/hostname", "go together"),
        ("--ca-cert=", "--ca-cert is needed"),
        ("--sync-interval=20s", "longer than --sync-interval-cap"),
        ("--proxy-server-port=0", "proxy-server-port"),
        ("--no-such-flag", "unknown flag"),
    ],
)
def test_refusals(ca, argument, message):
    with pytest.raises(UsageError) as caught:
        options(ca, argument)
    assert message in "\n".join(caught.value.problems)

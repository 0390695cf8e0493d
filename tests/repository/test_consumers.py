"""Tests that our programs accept the exact argument lists of projects that deploy the reference, with their meaning.

tests/e2e/test_consumers.py sends requests through programs with the same lists.
"""

from __future__ import annotations

import re
import tomllib

import pytest

from konnectivity.runtime.options import UsageError, parse
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions
from support.checkout import DEPLOYERS as DEPLOYERS_FILE

DEPLOYERS = tomllib.loads(DEPLOYERS_FILE.read_text())
SERVERS = {name: each["server"] for name, each in DEPLOYERS.items()}
AGENTS = {name: each["agent"] for name, each in DEPLOYERS.items()}
AGENTS["hypershift control plane"] = DEPLOYERS["hypershift"]["second_agent"]
FILE_FLAGS = r"--(?:[a-z-]*(?:cert|key)|kubeconfig|service-account-token-path)[= ](/\S+)"


@pytest.fixture
def argv(tmp_path):
    """Return a function: text of a command line -> argument list whose files exist under the test's own directory."""

    def supplied(text: str) -> list[str]:
        text = " ".join(text.split()) + " "
        for path in set(re.findall(FILE_FLAGS, text)):
            there = tmp_path / path.lstrip("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text("x")
            text = re.sub(rf"(?<=[= ]){re.escape(path)}(?=\s)", str(there), text)
        return text.split()

    return supplied


@pytest.mark.parametrize("name", SERVERS)
def test_servers(argv, name):
    found = parse(ServerOptions, argv(SERVERS[name]), {}, "proxy-server")
    assert found.modes in (["grpc"], ["http-connect"])
    assert bool(found.uds_name) != found.tcp_frontend
    assert found.reviews_tokens != bool(found.cluster_ca_cert)


@pytest.mark.parametrize("name", AGENTS)
def test_agents(argv, name):
    found = parse(AgentOptions, argv(AGENTS[name]), {}, "proxy-agent")
    assert len(found.servers) == 1
    assert bool(found.agent_cert) != bool(found.service_account_token_path)


def test_some_of_what_they_mean(argv):
    gce = parse(ServerOptions, argv(SERVERS["gce-http-connect"]), {}, "proxy-server")
    assert (gce.server_port, gce.kubeconfig, gce.kubeconfig_qps, gce.keepalive_time) == (8131, "", 75.0, 60.0)
    hypershift = parse(ServerOptions, argv(SERVERS["hypershift"]), {}, "proxy-server")
    assert (hypershift.server_count, hypershift.health_port, hypershift.admin_port) == (3, 2041, 8093)
    k0s = parse(ServerOptions, argv(SERVERS["k0s"]), {}, "proxy-server")
    assert (k0s.graceful_shutdown_timeout, k0s.verbosity, len(k0s.cipher_suites)) == (1e-9, 2, 6)
    assert parse(ServerOptions, argv(SERVERS["gardener"]), {}, "proxy-server").server_count == 3
    agent = parse(AgentOptions, argv(AGENTS["kind-multinode"]), {}, "proxy-agent")
    assert (agent.sync_forever, agent.count_server_leases, agent.sync_interval_cap) == (True, True, 30.0)
    assert agent.agent_identifiers == "ipv4=${HOST_IP}"
    assert parse(AgentOptions, argv(AGENTS["aks"]), {}, "proxy-agent").alpn_proto == ("konnectivity",)
    launcher = parse(AgentOptions, argv(AGENTS["launcher"]), {}, "proxy-agent")
    assert (launcher.alpn_proto, launcher.kubeconfig, launcher.sync_interval) == ((), "", 0.1)


@pytest.mark.parametrize("missing", ["--agent-namespace", "--agent-service-account", "--authentication-audience"])
def test_token_flags_go_together(argv, missing):
    arguments = [each for each in argv(SERVERS["kubeadm"]) if not each.startswith(missing)]
    with pytest.raises(UsageError, match=f"needs {missing}"):
        parse(ServerOptions, arguments, {}, "proxy-server")


def test_tokens_and_certificates_may_be_wanted_together(argv):
    found = parse(ServerOptions, argv(SERVERS["kubeadm"] + " --cluster-ca-cert=/certs/ca.crt "), {}, "proxy-server")
    assert found.reviews_tokens
    assert found.cluster_ca_cert

"""The exact argument lists of those who deploy the established programs: ours take each of them, and mean the same."""

from __future__ import annotations

import re

import pytest

from konnectivity.options import UsageError, parse
from konnectivity_agent.cli import AgentOptions
from konnectivity_server.cli import ServerOptions

KAMAJI_SERVER = """
--admin-port=8133 --agent-namespace=kube-system --agent-port=8132 --agent-service-account=konnectivity-agent
--authentication-audience=system:konnectivity-server --cluster-cert=/etc/kubernetes/pki/apiserver.crt
--cluster-key=/etc/kubernetes/pki/apiserver.key --health-port=8134 --kubeconfig=/etc/kubernetes/konnectivity-server.conf
--mode=grpc --server-count=2 --server-port=0 --uds-name=/run/konnectivity/konnectivity-server.socket
"""
K0S_SERVER = """
--admin-port=8133 --agent-namespace=kube-system --agent-port=8132 --agent-service-account=konnectivity-agent
--authentication-audience=system:konnectivity-server
--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
--cluster-cert=/var/lib/k0s/pki/server.crt --cluster-key=/var/lib/k0s/pki/server.key --delete-existing-uds-file=true
--enable-profiling=false --graceful-shutdown-timeout=1ns --health-bind-address=localhost --health-port=8092
--kubeconfig=/var/lib/k0s/pki/konnectivity.conf --logtostderr=true --mode=grpc
--proxy-strategies=destHost,defaultRoute,default --server-count=3 --server-id=0123abcd --server-port=0
--stderrthreshold=1 --uds-name=/run/k0s/konnectivity-server/konnectivity-server.sock --v=2
"""
DOCS_SERVER = """
--logtostderr=true --uds-name=/etc/kubernetes/konnectivity-server/konnectivity-server.socket --delete-existing-uds-file
--cluster-cert=/etc/kubernetes/pki/apiserver.crt --cluster-key=/etc/kubernetes/pki/apiserver.key --mode=grpc
--server-port=0 --agent-port=8132 --admin-port=8133 --health-port=8134 --agent-namespace=kube-system
--agent-service-account=konnectivity-agent --kubeconfig=/etc/kubernetes/konnectivity-server.conf
--authentication-audience=system:konnectivity-server
"""
KIND_SERVER = """
--log-file=/var/log/konnectivity-server.log --logtostderr=true --log-file-max-size=0
--uds-name=/etc/kubernetes/konnectivity-server/konnectivity-server.socket --delete-existing-uds-file
--cluster-cert=/etc/kubernetes/pki/apiserver.crt --cluster-key=/etc/kubernetes/pki/apiserver.key --server-port=0
--agent-port=8091 --health-port=8092 --admin-port=8093 --keepalive-time=1h --mode=grpc --agent-namespace=kube-system
--agent-service-account=konnectivity-agent --kubeconfig=/etc/kubernetes/admin.conf
--authentication-audience=system:konnectivity-server
"""
KIND_MULTINODE_SERVER = KIND_SERVER + "--server-count=2 --enable-lease-controller"
EXAMPLES_SERVER = """
--log-file=/var/log/konnectivity-server.log --logtostderr=false --log-file-max-size=0 --uds-name=/etc/srv/konnectivity.socket
--cluster-cert=/etc/srv/kubernetes/pki/apiserver.crt --cluster-key=/etc/srv/kubernetes/pki/apiserver.key
--mode=http-connect --server-port=0 --agent-port=8132 --admin-port=8133 --health-port=8134 --agent-namespace=kube-system
--agent-service-account=konnectivity-agent --kubeconfig=/etc/srv/kubernetes/konnectivity-server/kubeconfig
--authentication-audience=system:konnectivity-server --keepalive-time=1h
"""
GCE_GRPC_SERVER = """
--log-file=/var/log/konnectivity-server.log --logtostderr=false --log-file-max-size=0
--uds-name=/etc/srv/kubernetes/konnectivity-server/konnectivity-server.socket --cluster-cert=/etc/srv/pki/apiserver.crt
--cluster-key=/etc/srv/pki/apiserver.key --mode=grpc --server-port=0 --agent-port=8132 --health-port=8133 --admin-port=8134
--kubeconfig-qps=75 --kubeconfig-burst=150 --keepalive-time=60s --frontend-keepalive-time=60s
--agent-namespace=kube-system --agent-service-account=konnectivity-agent
--kubeconfig=/etc/srv/kubernetes/konnectivity-server/kubeconfig --authentication-audience=system:konnectivity-server
--proxy-strategies=default
"""
GCE_CONNECT_SERVER = """
--log-file=/var/log/konnectivity-server.log --logtostderr=false --log-file-max-size=0
--server-ca-cert=/etc/srv/pki/konnectivity-server/ca.crt --server-cert=/etc/srv/pki/konnectivity-server/server.crt
--server-key=/etc/srv/pki/konnectivity-server/server.key --cluster-ca-cert=/etc/srv/pki/konnectivity-agent/ca.crt
--cluster-cert=/etc/srv/pki/konnectivity-agent/server.crt --cluster-key=/etc/srv/pki/konnectivity-agent/server.key
--mode=http-connect --server-port=8131 --agent-port=8132 --health-port=8133 --admin-port=8134 --kubeconfig-qps=75
--kubeconfig-burst=150 --keepalive-time=60s --frontend-keepalive-time=60s --agent-namespace= --agent-service-account=
--kubeconfig= --authentication-audience= --proxy-strategies=destHost,default
"""
HYPERSHIFT_SERVER = """
--logtostderr=true --log-file-max-size=0 --cluster-cert /etc/konnectivity/cluster/tls.crt
--cluster-key /etc/konnectivity/cluster/tls.key --cluster-ca-cert /etc/konnectivity/ca/ca.crt
--server-cert /etc/konnectivity/server/tls.crt --server-key /etc/konnectivity/server/tls.key
--server-ca-cert /etc/konnectivity/ca/ca.crt --server-port 8090 --agent-port 8091 --health-port 2041 --admin-port=8093
--mode=http-connect --proxy-strategies=destHost,defaultRoute --keepalive-time 30s --frontend-keepalive-time 30s
--server-count 3 --tls-min-version=VersionTLS12 --cipher-suites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
"""
KUBERMATIC_SERVER = """
--logtostderr=true -v=3 --cluster-key=/etc/kubernetes/pki/ca.key --cluster-cert=/etc/kubernetes/pki/ca.crt
--uds-name=/etc/kubernetes/konnectivity-server/konnectivity-server.socket --kubeconfig=/etc/kubernetes/kubeconfig/kubeconfig
--server-port=0 --agent-port=8132 --health-port=8134 --admin-port=8133 --admin-bind-address=0.0.0.0 --mode=grpc
--agent-namespace=kube-system --agent-service-account=system-konnectivity-agent --delete-existing-uds-file=true
--authentication-audience=system:konnectivity-server --proxy-strategies=default --keepalive-time=1m --xfr-channel-size=150
"""
OCM_SERVER = """
--server-count=1 --proxy-strategies=destHost --server-ca-cert=/proxy-server-pki/ca.crt
--server-cert=/proxy-server-pki/tls.crt --server-key=/proxy-server-pki/tls.key --cluster-ca-cert=/agent-server-pki/ca.crt
--cluster-cert=/agent-server-pki/tls.crt --cluster-key=/agent-server-pki/tls.key
"""
GARDENER_SERVER = DOCS_SERVER.replace("--mode=grpc", "--mode=http-connect") + "--keepalive-time=1m --server-count 3"
OLD_SERVER = DOCS_SERVER + "--warn-on-channel-limit=true"

KAMAJI_AGENT = """
--admin-server-port=8133 --ca-cert=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt --health-server-port=8134
--logtostderr=true --proxy-server-host=203.0.113.7 --proxy-server-port=8132
--service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token -v=8
"""
K0S_AGENT = """
--logtostderr=true --ca-cert=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt --proxy-server-host=localhost
--proxy-server-port=7132 --service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token
--agent-identifiers=host=10.0.0.7 --agent-id=10.0.0.7
"""
KIND_AGENT = """
--logtostderr=true --ca-cert=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
--proxy-server-host=konnectivity-server.kube-system.svc.cluster.local --proxy-server-port=8091 --sync-interval=5s
--sync-interval-cap=30s --probe-interval=5s --service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token
--agent-identifiers=ipv4=10.0.0.7
"""
KIND_MULTINODE_AGENT = KIND_AGENT.replace("ipv4=10.0.0.7", "ipv4=${HOST_IP}") + "--sync-forever --count-server-leases"
HYPERSHIFT_AGENT = """
--logtostderr=true --ca-cert /etc/konnectivity/ca/ca.crt --agent-cert /etc/konnectivity/agent/tls.crt
--agent-key /etc/konnectivity/agent/tls.key --proxy-server-host konnectivity.example --proxy-server-port 443
--health-server-host 127.0.0.1 --health-server-port 2041 --agent-identifiers=default-route=true --keepalive-time 30s
--probe-interval 5s --sync-interval 5s --sync-interval-cap 30s --v 3
"""
HYPERSHIFT_CONTROL_PLANE_AGENT = HYPERSHIFT_AGENT.replace(
    "default-route=true", "ipv4=172.30.0.1&ipv4=172.30.0.2&ipv4=172.30.0.3"
)
AKS_AGENT = """
--logtostderr=true --ca-cert=/certs/ca.crt --agent-cert=/certs/client.crt --agent-key=/certs/client.key
--proxy-server-host=aks.example --proxy-server-port=443 --alpn-proto=konnectivity --health-server-port=8082
"""
LAUNCHER_AGENT = """
--admin-bind-address=127.0.0.1 --admin-server-port=9001 --agent-cert=/certs/tls.crt --agent-id=one --agent-identifiers=
--agent-key=/certs/tls.key --alpn-proto=[] --ca-cert=/certs/ca.crt --count-server-leases=false
--enable-contention-profiling=false --enable-profiling=false --health-server-host=127.0.0.1 --health-server-port=9002
--keepalive-time=1h0m0s --kube-api-content-type=application/vnd.kubernetes.protobuf --kubeconfig=
--lease-label=k8s-app=konnectivity-server --lease-label-selector=k8s-app=konnectivity-server
--lease-namespace=kube-system --probe-interval=100ms --proxy-server-host=localhost --proxy-server-port=9003
--server-count-source=default --service-account-token-path= --sync-forever=false --sync-interval=100ms
--sync-interval-cap=1s --warn-on-channel-limit=false --xfr-channel-size=150
"""
SERVERS = {name: text for name, text in list(globals().items()) if name.endswith("_SERVER")}
AGENTS = {name: text for name, text in list(globals().items()) if name.endswith("_AGENT")}
FILE_FLAGS = r"--(?:[a-z-]*(?:cert|key)|kubeconfig|service-account-token-path)[= ](/\S+)"


@pytest.fixture
def argv(tmp_path):
    """An argument list whose files are there, under the test's own directory."""

    def supplied(text: str) -> list[str]:
        for path in set(re.findall(FILE_FLAGS, text)):
            there = tmp_path / path.lstrip("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text("x")
            text = re.sub(rf"(?<=[= ]){re.escape(path)}(?=\s)", str(there), text + " ")
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
    gce = parse(ServerOptions, argv(GCE_CONNECT_SERVER), {}, "proxy-server")
    assert (gce.server_port, gce.kubeconfig, gce.kubeconfig_qps, gce.keepalive_time) == (8131, "", 75.0, 60.0)
    hypershift = parse(ServerOptions, argv(HYPERSHIFT_SERVER), {}, "proxy-server")
    assert (hypershift.server_count, hypershift.health_port, hypershift.admin_port) == (3, 2041, 8093)
    k0s = parse(ServerOptions, argv(K0S_SERVER), {}, "proxy-server")
    assert (k0s.graceful_shutdown_timeout, k0s.verbosity, len(k0s.cipher_suites)) == (1e-9, 2, 6)
    assert parse(ServerOptions, argv(GARDENER_SERVER), {}, "proxy-server").server_count == 3
    agent = parse(AgentOptions, argv(KIND_MULTINODE_AGENT), {}, "proxy-agent")
    assert (agent.sync_forever, agent.count_server_leases, agent.sync_interval_cap) == (True, True, 30.0)
    assert agent.agent_identifiers == "ipv4=${HOST_IP}"
    assert parse(AgentOptions, argv(AKS_AGENT), {}, "proxy-agent").alpn_proto == ("konnectivity",)
    launcher = parse(AgentOptions, argv(LAUNCHER_AGENT), {}, "proxy-agent")
    assert (launcher.alpn_proto, launcher.kubeconfig, launcher.sync_interval) == ((), "", 0.1)


@pytest.mark.parametrize("missing", ["--agent-namespace", "--agent-service-account", "--authentication-audience"])
def test_token_flags_go_together(argv, missing):
    arguments = [each for each in argv(DOCS_SERVER) if not each.startswith(missing)]
    with pytest.raises(UsageError, match=f"needs {missing}"):
        parse(ServerOptions, arguments, {}, "proxy-server")


def test_tokens_and_certificates_may_be_wanted_together(argv):
    found = parse(ServerOptions, argv(DOCS_SERVER + " --cluster-ca-cert=/certs/ca.crt "), {}, "proxy-server")
    assert found.reviews_tokens
    assert found.cluster_ca_cert

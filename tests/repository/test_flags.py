"""Tests of every flag of both programs: its name, kind and default, its accepted forms, and refused values.

The tables list all flags that launchers and manifests rely on; a declared flag that is missing here fails a test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import NamedTuple

import pytest

from konnectivity.runtime.options import Option, UsageError, declared, deprecations, parse, usage
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions

PORT, SMALL_PORT = "must be a port between 1024 and 49151", "must be a port between 1 and 65535"
PORTS = {"1023": PORT, "49152": PORT, "0": PORT, "-1": PORT, "x": "not a whole number", "": "not a whole number"}
SMALL_PORTS = {"0": SMALL_PORT, "65536": SMALL_PORT, "-1": SMALL_PORT, "x": "not a whole number"}
FILE = {"/no/such/file": "No such file or directory", "/": "is a directory"}
NUMBER = {"x": "not a whole number", "": "not a whole number", "1.5": "not a whole number"}
ABOVE_0 = {**NUMBER, "0": "must be greater than 0", "-1": "must be greater than 0"}
TRUTH = {"maybe": "must be true or false", "": "must be true or false"}
TIME = {"x": "not a duration", "": "not a duration", "5": "not a duration"}
TIME_ABOVE_0 = {**TIME, "0": "must be greater than 0", "-1s": "must be greater than 0"}
TIME_FROM_0 = {**TIME, "-1s": "must be 0 or more"}
SEVERITY = {"x": "must be INFO, WARNING, ERROR, FATAL", "": "must be INFO", "-1": "must be INFO"}
RULES = {"10.0.0.1/8": "the network is 10.0.0.0/8", "a:x": "is no port", "a*b": "a * stands alone"}
SIZES = {"x": "not a size", "0": "must be greater than 0"}
SIZES_FROM_0 = {"x": "not a size"}
SUITE = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
UNSUPPORTED = "not supported, doesn't exist or considered as insecure"
AUTHENTICATION = "--agent-namespace=ns --agent-service-account=sa --authentication-audience=au"
FRONTEND = "--server-cert={file} --server-key={file} --server-ca-cert={file}"


class Flag(NamedTuple):
    """One flag. `default` and `value` are text as on a command line; `means` is the parsed `value`."""

    name: str
    kind: str  # string, int, bool, duration, float, strings, size
    default: str
    value: str
    means: object
    needs: str = ""  # flags that must accompany the flag
    refused: Mapping[str, str] = {}  # refused value -> text in the message


# Flags of the reference's server, in the order of its documentation.
SERVER = (
    Flag("server-cert", "string", "", "{other}", "{other}", FRONTEND, FILE),
    Flag("server-key", "string", "", "{other}", "{other}", FRONTEND, FILE),
    Flag("server-ca-cert", "string", "", "{other}", "{other}", FRONTEND, FILE),
    Flag("cluster-cert", "string", "", "{other}", "{other}", "", FILE),
    Flag("cluster-key", "string", "", "{other}", "{other}", "", FILE),
    Flag("cluster-ca-cert", "string", "", "{other}", "{other}", "", FILE),
    Flag("mode", "string", "grpc", "http-connect", "http-connect", "", {"": "must be grpc", "GRPC": "must be grpc"}),
    Flag("uds-name", "string", "", "/run/konnectivity.socket", "/run/konnectivity.socket"),
    Flag("delete-existing-uds-file", "bool", "true", "false", False, "", TRUTH),
    Flag("server-port", "int", "8090", "8131", 8131, FRONTEND, {k: v for k, v in PORTS.items() if k != "0"}),
    Flag("server-bind-address", "string", "", "127.0.0.1", "127.0.0.1"),
    Flag("agent-port", "int", "8091", "8132", 8132, "", PORTS),
    Flag("agent-bind-address", "string", "", "::1", "::1"),
    Flag("admin-port", "int", "8095", "8133", 8133, "", PORTS),
    Flag("admin-bind-address", "string", "127.0.0.1", "", ""),
    Flag("health-port", "int", "8092", "8134", 8134, "", PORTS),
    Flag("health-bind-address", "string", "", "localhost", "localhost"),
    Flag("keepalive-time", "duration", "1h0m0s", "1m", 60.0, "", TIME_ABOVE_0),
    Flag("frontend-keepalive-time", "duration", "1h0m0s", "60s", 60.0, "", TIME_ABOVE_0),
    Flag("enable-profiling", "bool", "false", "true", True, "", TRUTH),
    Flag("enable-contention-profiling", "bool", "false", "true", True, "--enable-profiling", TRUTH),
    Flag("server-id", "string", "", "server-1", "server-1"),
    Flag("server-count", "int", "1", "3", 3, "", NUMBER),
    Flag("agent-namespace", "string", "", "kube-system", "kube-system", AUTHENTICATION),
    Flag("agent-service-account", "string", "", "konnectivity-agent", "konnectivity-agent", AUTHENTICATION),
    Flag("authentication-audience", "string", "", "system:k", "system:k", AUTHENTICATION),
    Flag("kubeconfig", "string", "", "{file}", "{file}", "", FILE),
    Flag("kubeconfig-qps", "float", "0", "7.5", 7.5, "", {"x": "not a number", "": "not a number"}),
    Flag("kubeconfig-burst", "int", "0", "150", 150, "", {**NUMBER, "-1": "must be 0 or more"}),
    Flag(
        "kube-api-content-type", "string", "application/vnd.kubernetes.protobuf", "application/json", "application/json"
    ),
    Flag(
        "proxy-strategies",
        "string",
        "default",
        "destHost,,defaultRoute,default",
        "destHost,,defaultRoute,default",
        "",
        {
            "": "ProxyStrategies cannot be empty",
            ",": "ProxyStrategies cannot be empty",
            "desthost": "unknown proxy strategy: desthost",
            "default,best": "unknown proxy strategy: best",
        },
    ),
    Flag("cipher-suites", "strings", "[]", SUITE, (SUITE,), "", {"TLS_RSA_WITH_RC4_128_SHA": UNSUPPORTED}),
    Flag("tls-min-version", "string", "", "VersionTLS13", "VersionTLS13", "", {"1.2": "VersionTLS10, VersionTLS11"}),
    Flag("xfr-channel-size", "int", "10", "150", 150, "", ABOVE_0),
    Flag("enable-lease-controller", "bool", "false", "true", True, "", TRUTH),
    Flag("lease-namespace", "string", "kube-system", "tenants", "tenants"),
    Flag("lease-label", "string", "k8s-app=konnectivity-server", "a=b,c=d", "a=b,c=d", "--enable-lease-controller"),
    Flag("graceful-shutdown-timeout", "duration", "25s", "1ns", 1e-9, "", TIME_FROM_0),
    Flag("backend-dial-timeout", "duration", "10s", "500ms", 0.5, "", TIME_FROM_0),
    Flag("warn-on-channel-limit", "bool", "true", "false", False, "", TRUTH),
)
AGENT = (
    Flag("agent-cert", "string", "", "{other}", "{other}", "--agent-cert={file} --agent-key={file}", FILE),
    Flag("agent-key", "string", "", "{other}", "{other}", "--agent-cert={file} --agent-key={file}", FILE),
    Flag("ca-cert", "string", "", "{other}", "{other}", "", FILE),
    Flag("proxy-server-host", "strings", "127.0.0.1", "example.org", ("example.org",), "", {"a:b": "has no port"}),
    Flag("proxy-server-port", "int", "8091", "443", 443, "", SMALL_PORTS),
    Flag("alpn-proto", "strings", "[]", "konnectivity", ("konnectivity",), "", {'"a': "not a list of values"}),
    Flag("health-server-host", "string", "", "127.0.0.1", "127.0.0.1"),
    Flag("health-server-port", "int", "8093", "2041", 2041, "", SMALL_PORTS),
    Flag("admin-bind-address", "string", "127.0.0.1", "", ""),
    Flag("admin-server-port", "int", "8094", "8133", 8133, "", SMALL_PORTS),
    Flag("enable-profiling", "bool", "false", "true", True, "", TRUTH),
    Flag("enable-contention-profiling", "bool", "false", "true", True, "--enable-profiling", TRUTH),
    Flag("agent-id", "string", "", "agent-1", "agent-1"),
    Flag(
        "agent-identifiers",
        "string",
        "",
        "ipv4=${HOST_IP}&ipv6=::1&host=a+b&cidr=10.0.0.0%2F8&default-route=true",
        "ipv4=${HOST_IP}&ipv6=::1&host=a+b&cidr=10.0.0.0%2F8&default-route=true",
        "",
        {
            "uid=1": "agent address is invalid: unknown address type: uid",
            "IPV4=1": "agent address is invalid: unknown address type: IPV4",
            "=1": "agent address is invalid: unknown address type: ",
            "ipv4=1;ipv4=2": "agent address is invalid: invalid semicolon separator in query",
            "host=100%": 'agent address is invalid: invalid URL escape "%"',
            "host=%zz1": 'agent address is invalid: invalid URL escape "%zz"',
        },
    ),
    Flag("sync-interval", "duration", "1s", "5s", 5.0, "", {**TIME, "11s": "is longer than --sync-interval-cap"}),
    Flag("sync-interval-cap", "duration", "10s", "30s", 30.0, "", {**TIME, "999ms": "--sync-interval is longer than"}),
    Flag("probe-interval", "duration", "1s", "100ms", 0.1, "", TIME_FROM_0),
    Flag("keepalive-time", "duration", "1h0m0s", "30s", 30.0, "", TIME_ABOVE_0),
    Flag("service-account-token-path", "string", "", "{file}", "{file}", "", FILE),
    Flag("warn-on-channel-limit", "bool", "false", "true", True, "", TRUTH),
    Flag("sync-forever", "bool", "false", "true", True, "", TRUTH),
    Flag("xfr-channel-size", "int", "150", "10", 10, "", ABOVE_0),
    Flag("count-server-leases", "bool", "false", "true", True, "", TRUTH),
    Flag("lease-namespace", "string", "kube-system", "tenants", "tenants"),
    Flag(
        "lease-label-selector",
        "string",
        "k8s-app=konnectivity-server",
        "a in (b, c),!d",
        "a in (b, c),!d",
        "",
        {"a in b": "label selector", "a=b=c": 'invalid argument "a=b=c" for "--lease-label-selector" flag'},
    ),
    Flag("server-count-source", "string", "default", "max", "max", "", {"min": "must be one of: default, max"}),
    Flag("kubeconfig", "string", "", "{file}", "{file}", "", FILE),
    Flag(
        "kube-api-content-type", "string", "application/vnd.kubernetes.protobuf", "application/json", "application/json"
    ),
)
KLOG = (
    Flag("v", "int", "4", "8", 8, "", NUMBER),
    Flag("vmodule", "string", "", "link*=9,tls=1", "link*=9,tls=1", "", {"x": "is not pattern=N", "a=b": "is not"}),
    Flag("logtostderr", "bool", "true", "false", False, "", TRUTH),
    Flag("alsologtostderr", "bool", "false", "true", True, "", TRUTH),
    Flag("stderrthreshold", "string", "2", "WARNING", "WARNING", "", SEVERITY),
    Flag("alsologtostderrthreshold", "string", "0", "1", "1", "", SEVERITY),
    Flag("legacy-stderr-threshold-behavior", "bool", "true", "false", False, "", TRUTH),
    Flag("log-file", "string", "", "/var/log/konnectivity.log", "/var/log/konnectivity.log"),
    Flag("log-file-max-size", "int", "1800", "0", 0, "", {**NUMBER, "-1": "must be 0 or more"}),
    Flag("log-dir", "string", "", "/var/log", "/var/log"),
    Flag("skip-headers", "bool", "false", "true", True, "", TRUTH),
    Flag("add-dir-header", "bool", "false", "true", True, "", TRUTH),
    Flag("skip-log-headers", "bool", "false", "true", True, "", TRUTH),
    Flag("one-output", "bool", "false", "true", True, "", TRUTH),
    Flag("log-backtrace-at", "string", "", ":0", ":0"),
)
# Flags of this project alone; a new flag must be added here.
OWN_OF_BOTH = (
    Flag("max-health-connections", "int", "200", "50", 50, "", ABOVE_0),
    Flag("heartbeat-interval", "duration", "10s", "0", 0.0, "", TIME_FROM_0),
    Flag("process-buffer-budget", "size", "0", "1Gi", 1 << 30, "", SIZES_FROM_0),
    Flag("tunnel-buffer-budget", "size", "0", "1Mi", 1 << 20, "", SIZES_FROM_0),
    Flag("connection-window-max", "size", "32Mi", "1Mi", 1 << 20, "", SIZES),
    Flag("connection-buffer-budget", "size", "1Mi", "64Ki", 65536, "", SIZES),
    Flag("stream-hold-timeout", "duration", "2s", "100ms", 0.1, "", TIME_ABOVE_0),
    Flag("konnectivity-extension", "bool", "true", "false", False, "", TRUTH),
    Flag(
        "connection-window",
        "size",
        "0",
        "1024",
        1024,
        "",
        {**SIZES_FROM_0, "1Gi": "larger than --connection-window-max"},
    ),
    Flag("grpc-implementation", "string", "native", "grpcio", "grpcio", "", {"go": "must be one of: native, grpcio"}),
    Flag("logging-format", "string", "text", "json", "json", "", {"xml": "must be one of: text, json"}),
    Flag("config", "string", "", "{config}", "{config}", "", {"/no/such/file": "cannot read config file"}),
    Flag("check-config", "bool", "false", "true", True, "", TRUTH),
)
IDENTITY = {"san": "must be one of: none, certificate-san, token", "token": "needs --agent-namespace"}
COLLECTORS = dict.fromkeys(("otel:4318", "ftp://otel", "http://", "http://otel:99999", "http://a b"), "must be a URL")
PEERS = "--peer-cert={file} --peer-key={file} --peer-ca-cert={file}"
OWN_OF_SERVER = (
    Flag("workers", "int", "1", "4", 4, "", ABOVE_0),
    Flag("insecure-allow-unauthenticated-agents", "bool", "false", "true", True, "", TRUTH),
    Flag("admin-token-file", "string", "", "{file}", "{file}", "", FILE),
    Flag("enable-dashboard", "switch", "auto", "true", True, "", {"maybe": "must be true, false or auto"}),
    Flag("probe", "words", "", "a=b:1,tls c=d:2", ("a=b:1,tls", "c=d:2"), "", {"a": "write NAME=HOST:PORT"}),
    Flag("probe-interval", "duration", "15s", "1m", 60.0, "", {**TIME, "500ms": "must be 1 or more"}),
    Flag("probe-rate", "int", "100", "50", 50, "", ABOVE_0),
    Flag("probe-ca-cert", "string", "", "{other}", "{other}", "", FILE),
    Flag("probe-cert", "string", "", "{other}", "{other}", "--probe-key={other}", FILE),
    Flag("probe-key", "string", "", "{other}", "{other}", "--probe-cert={other}", FILE),
    Flag("probe-node-events", "bool", "false", "true", True, "--probe=a=b:1", TRUTH),
    Flag("ready-when", "string", "agent", "path", "path", "--probe=a=b:1", {"x": "must be one of: agent, path"}),
    Flag("frontend-policy", "string", "", "{file}", "{file}", "", FILE),
    Flag("forward-bind-address", "string", "127.0.0.1", "::1", "::1"),
    Flag("forward-port", "int", "0", "8070", 8070, "", {"65536": "must be"}),
    Flag("forward-uds-name", "string", "", "/run/forward.sock", "/run/forward.sock"),
    Flag("forward-credentials-file", "string", "", "{file}", "{file}", "", FILE),
    Flag("forward-max-connections", "int", "10000", "50", 50, "", ABOVE_0),
    Flag("forward-resolve", "strings", "[]", "svc=local,a.test=agent", ("svc=local", "a.test=agent"), "", {"a": "WAY"}),
    Flag("forward-cluster-dns", "strings", "[]", "10.0.0.10", ("10.0.0.10",), "", {"a": "is not an IP address"}),
    Flag("forward-dns-bind-address", "string", "127.0.0.1", "::1", "::1"),
    Flag("forward-dns-port", "int", "0", "5353", 5353, "", {"65536": "must be"}),
    Flag(
        "tenants", "string", "", "{folder}", "{folder}", "--cluster-ca-cert= --uds-name=", {"/no/such": "no directory"}
    ),
    Flag(
        "proxy-protocol",
        "string",
        "off",
        "required",
        "required",
        "--proxy-protocol-trusted=10.0.0.1",
        {"on": "must be one of: off, optional, required"},
    ),
    Flag(
        "proxy-protocol-trusted", "strings", "[]", "10.0.0.0/8,::1", ("10.0.0.0/8", "::1"), "", {"lb": "is no network"}
    ),
    Flag("audit-log", "string", "", "/var/log/audit.log", "/var/log/audit.log"),
    Flag("tracing-endpoint", "string", "", "http://otel:4318", "http://otel:4318", "", COLLECTORS),
    Flag("tracing-sample-ratio", "float", "1", "0.25", 0.25, "", {"1.5": "must be between 0 and 1"}),
    Flag("agent-identity", "string", "none", "certificate-san", "certificate-san", "", IDENTITY),
    Flag("peers", "strings", "[]", "a:1,b", ("a:1", "b"), PEERS, {"a:0": "has no port between"}),
    Flag("peer-port", "int", "0", "8133", 8133, PEERS, {"80": PORT, "8133": "--peer-cert is needed for --peers"}),
    Flag("peer-bind-address", "string", "", "10.0.0.1", "10.0.0.1"),
    Flag("peer-cert", "string", "", "{file}", "{file}", "", FILE),
    Flag("peer-key", "string", "", "{file}", "{file}", "", FILE),
    Flag("peer-ca-cert", "string", "", "{file}", "{file}", "", FILE),
)
LIMITS_OF_SERVER = (
    Flag("max-connections-per-source", "int", "0", "100", 100, "", {**NUMBER, "-1": "must be 0 or more"}),
    Flag("handshake-timeout", "duration", "10s", "5s", 5.0, "", TIME_ABOVE_0),
    Flag("idle-connection-timeout", "duration", "5m0s", "0", 0.0, "", TIME_FROM_0),
    Flag("connect-head-timeout", "duration", "1m0s", "5s", 5.0, "", TIME_ABOVE_0),
    Flag("max-connect-head", "size", "1Mi", "16Ki", 16384, "", SIZES),
    Flag("max-address-length", "int", "1024", "300", 300, "", ABOVE_0),
    Flag("max-pending-dials-per-agent", "int", "10000", "50", 50, "", ABOVE_0),
    Flag("max-pending-dials-per-frontend", "int", "65536", "50", 50, "", ABOVE_0),
    Flag("max-control-frame-rate", "int", "5000", "100", 100, "", ABOVE_0),
    Flag("max-new-stream-rate", "int", "1000", "100", 100, "", ABOVE_0),
    Flag("max-header-list", "size", "32Ki", "8Ki", 8192, "", SIZES),
    Flag("max-unsent", "size", "8Mi", "1Mi", 1 << 20, "", SIZES),
    Flag("max-unsent-total", "size", "256Mi", "1Mi", 1 << 20, "", SIZES),
    Flag("max-incomplete-messages", "size", "8Mi", "1Mi", 1 << 20, "", SIZES),
    Flag("message-buffer-budget", "size", "64Mi", "1Mi", 1 << 20, "", SIZES),
)
OWN_OF_AGENT = (
    Flag("allow-destination", "strings", "[]", "10.0.0.0/8,a:1", ("10.0.0.0/8", "a:1"), "", RULES),
    Flag("deny-destination", "strings", "[]", "[fd00::/8]:1-9", ("[fd00::/8]:1-9",), "", RULES),
    Flag("drain-timeout", "duration", "25s", "0", 0.0, "", TIME_FROM_0),
)

# Flags of the reference with another kind or default here: (program, flag) -> (in the reference, reason).
DIFFERENT = {
    ("proxy-server", "backend-dial-timeout"): ("0s", "an agent that does not answer must not hold a dial for ever"),
    ("proxy-server", "graceful-shutdown-timeout"): ("0s", "a roll-out must not cut connections that are about to end"),
    ("proxy-agent", "proxy-server-host"): ("string", "several servers can be named; one host means what it meant"),
}
# Flags without effect, accepted because manifests contain them.
NO_EFFECT = {
    "proxy-server": {"kube-api-content-type", "xfr-channel-size", "warn-on-channel-limit"},
    "proxy-agent": {"kube-api-content-type", "xfr-channel-size", "warn-on-channel-limit", "probe-interval"},
    "both": {"skip-log-headers", "one-output", "log-backtrace-at"},
}

PROGRAMS = {"proxy-server": ServerOptions, "proxy-agent": AgentOptions}
MODULES = {"proxy-server": "konnectivity_server.server_main", "proxy-agent": "konnectivity_agent.agent_main"}
BASE = {
    "proxy-server": "--cluster-cert={file} --cluster-key={file} --cluster-ca-cert={file} --uds-name=a.sock",
    "proxy-agent": "--ca-cert={file}",
}
ESTABLISHED = {"proxy-server": SERVER + KLOG, "proxy-agent": AGENT + KLOG}
OWN = {"proxy-server": OWN_OF_BOTH + OWN_OF_SERVER + LIMITS_OF_SERVER, "proxy-agent": OWN_OF_BOTH + OWN_OF_AGENT}
ROWS = [(program, flag) for program in PROGRAMS for flag in ESTABLISHED[program] + OWN[program]]
every_flag = pytest.mark.parametrize(("program", "flag"), ROWS, ids=[f"{each[0]}-{each[1].name}" for each in ROWS])


class Files:
    """Mapping of the placeholders `{...}` to the files that they stand for."""

    def __init__(self, directory):
        self.names = {name: str(directory / name) for name in ("file", "other", "config")}
        (directory / "file").write_text("x")
        (directory / "other").write_text("x")
        (directory / "config").write_text("# nothing\n")
        self.names["folder"] = str(directory)
        self.directory = directory

    def fill(self, text):
        for name, path in self.names.items():
            text = text.replace(f"{{{name}}}", path)
        return text

    def base(self, program, flag=None):
        return self.fill(f"{BASE[program]} {flag.needs if flag else ''}").split()

    def parse(self, program, *argv, flag=None, environ=None):
        return parse(PROGRAMS[program], [*self.base(program, flag), *argv], environ or {}, program)

    def problems(self, program, *argv, flag=None):
        with pytest.raises(UsageError) as caught:
            self.parse(program, *argv, flag=flag)
        return caught.value.problems


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def declaration(program, name) -> Option:
    return next(each for each in declared(PROGRAMS[program]) if name in each.long_names)


def reading(found, program, name):
    return getattr(found, declaration(program, name).field)


def values(found):
    """Return the values of all options by field, without their sources."""
    return {each.name: getattr(found, each.name) for each in fields(found) if each.compare}


# ---- names, kinds, defaults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_flag_is_missing_and_none_is_there_unawares(program):
    rows = [flag.name for flag in ESTABLISHED[program] + OWN[program]]
    assert sorted(each.flag for each in declared(PROGRAMS[program])) == sorted(rows)


@every_flag
def test_kind_and_default(program, flag):
    found = declaration(program, flag.name)
    assert (found.kind.name, found.kind.write(found.default)) == (flag.kind, flag.default)


def test_what_differs_on_purpose_differs():
    for (program, name), (there, why) in DIFFERENT.items():
        found = declaration(program, name)
        assert there not in (found.kind.name, found.kind.write(found.default)), why


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_has_no_effect_says_so(program):
    quiet = {each.flag for each in declared(PROGRAMS[program]) if each.instead or each.deprecated}
    assert quiet == NO_EFFECT[program] | NO_EFFECT["both"]


def test_short_names_and_old_names():
    for program in PROGRAMS:
        shorts = {each.flag: each.aliases for each in declared(PROGRAMS[program]) if each.aliases}
        assert shorts == {"v": ("v",)}
    old = {each.flag: each.deprecated_aliases for each in declared(AgentOptions) if each.deprecated_aliases}
    assert old == {"lease-label-selector": ("lease-label",)}
    assert not [each for each in declared(ServerOptions) if each.deprecated_aliases]


def test_what_is_hidden(files):
    shown = {program: usage(PROGRAMS[program], program, "") for program in PROGRAMS}
    assert "--warn-on-channel-limit" not in shown["proxy-server"]
    assert "--warn-on-channel-limit" in shown["proxy-agent"]
    assert "--lease-label " not in shown["proxy-agent"]
    old = files.parse("proxy-agent", "--lease-label=a=b")
    assert deprecations(old) == ["Flag --lease-label has been deprecated, use --lease-label-selector"]
    old = files.parse("proxy-server", "--warn-on-channel-limit")
    assert deprecations(old) == ["Flag --warn-on-channel-limit has been deprecated, stalls are counted in the metrics"]


# ---- forms -----------------------------------------------------------------------------------------------------------


@every_flag
def test_with_an_equals_sign_and_without(files, program, flag):
    value, means = files.fill(flag.value), flag.means
    means = files.fill(means) if isinstance(means, str) else means
    found = files.parse(program, f"--{flag.name}={value}", flag=flag)
    assert reading(found, program, flag.name) == means
    if flag.kind != "bool":
        found = files.parse(program, f"--{flag.name}", value, flag=flag)
        assert reading(found, program, flag.name) == means


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_launcher_may_render_every_default(files, program):
    """All defaults as --name=value in lexical order are accepted, but --server-port must be 0 with a unix socket."""
    rendered = sorted(f"--{flag.name}={flag.default}" for flag in ESTABLISHED[program] if flag.name != "server-port")
    base = files.base(program)
    assert values(parse(PROGRAMS[program], [*rendered, *base], {}, program)) == values(files.parse(program))


@pytest.mark.parametrize(
    ("program", "flag"),
    [row for row in ROWS if row[1].kind == "bool"],
    ids=[f"{each[0]}-{each[1].name}" for each in ROWS if each[1].kind == "bool"],
)
def test_truths_stand_alone_and_take_no_next_argument(files, program, flag):
    def value(*argv):
        return reading(files.parse(program, *argv, flag=flag), program, flag.name)

    assert value(f"--{flag.name}") is True
    assert value(f"--{flag.name}", "false") is True
    for text, means in (("true", True), ("1", True), ("T", True), ("false", False), ("0", False), ("F", False)):
        assert value(f"--{flag.name}={text}") is means


@every_flag
def test_repeated(files, program, flag):
    """Of a repeated flag the last value is used; lists grow."""
    first = {"int": "2048", "duration": "2s", "float": "1", "size": "3Ki", "strings": flag.value, "string": "other"}
    first["words"] = "x=y:1"
    before = first.get(flag.kind, "false" if flag.means else "true")
    found = files.parse(program, f"--{flag.name}={before}", f"--{flag.name}={files.fill(flag.value)}", flag=flag)
    means = files.fill(flag.means) if isinstance(flag.means, str) else flag.means
    if flag.kind == "words":
        means = (before, *flag.means)
    assert reading(found, program, flag.name) == (means * 2 if flag.kind == "strings" else means)


@pytest.mark.parametrize(("program", "name"), [(each[0], each[1].name) for each in ROWS if each[1].kind == "strings"])
def test_lists(files, program, name):
    def value(*texts):
        return reading(files.parse(program, *(f"--{name}={text}" for text in texts), *needs), program, name)

    needs = files.fill(PEERS).split() if name == "peers" else []
    one, other = {
        "cipher-suites": (SUITE, SUITE.replace("128", "256").replace("SHA256", "SHA384")),
        "proxy-protocol-trusted": ("10.0.0.0/8", "::1"),
        "forward-resolve": ("a=agent", "b=local"),
        "forward-cluster-dns": ("10.0.0.10", "10.0.0.11"),
    }.get(name, "ab")
    assert value(f"{one},{other}") == value(one, other) == (one, other)
    assert value(f'"{one}",{other}') == (one, other)
    if name != "proxy-server-host":  # this flag cannot be empty
        assert value("[]") == value("") == ()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("argv", ["-v=8", "-v 8", "-v8", "--v=8", "--v 8", "-v=1 -v=8", "word -v 8 word"])
def test_verbosity(files, program, argv):
    assert files.parse(program, *argv.split()).verbosity == 8


# ---- the environment and the file ------------------------------------------------------------------------------------


@every_flag
def test_the_environment_and_the_file_reach_the_same_option(files, program, flag):
    name, value = flag.name, files.fill(flag.value)
    given = reading(files.parse(program, f"--{name}={value}", flag=flag), program, name)
    if value:  # an empty variable counts as not set
        # Flags override the environment and the file, so the valid set is not passed as flags.
        argv = [each for each in files.base(program, flag) if not each.startswith(f"--{name}=")]
        variable = {"KONNECTIVITY_" + name.upper().replace("-", "_"): value}
        assert reading(parse(PROGRAMS[program], argv, variable, program), program, name) == given
    if name not in ("config", "check-config"):
        argv = [each for each in files.base(program, flag) if not each.startswith(f"--{name}=")]
        path = files.directory / "flags.yaml"
        quoted = value.replace("'", "''")
        path.write_text(f"# of a test\n{name}: '{quoted}'\n")
        found = parse(PROGRAMS[program], [*argv, f"--config={path}"], {}, program)
        assert reading(found, program, name) == given
        assert found.sources[declaration(program, name).field] == "file, line 2"


def test_the_established_variables(files):
    assert files.parse("proxy-server", environ={"PROXY_SERVER_ID": "s"}).server_id == "s"
    assert files.parse("proxy-agent", environ={"PROXY_AGENT_ID": "a"}).agent_id == "a"
    assert files.parse("proxy-agent", "--agent-id=f", environ={"PROXY_AGENT_ID": "a"}).agent_id == "f"
    assert files.parse("proxy-server", "--server-id=f", environ={"PROXY_SERVER_ID": "s"}).server_id == "f"


# ---- what is refused -------------------------------------------------------------------------------------------------

REFUSED = [(program, flag, value) for program, flag in ROWS for value in flag.refused]


@pytest.mark.parametrize(
    ("program", "flag", "value"), REFUSED, ids=[f"{each[0]}-{each[1].name}={each[2]}" for each in REFUSED]
)
def test_values_that_are_refused(files, program, flag, value):
    argv = () if flag.name == "peer-port" else files.fill(flag.needs).split()
    problems = files.problems(program, *argv, f"--{flag.name}={value}")
    assert [each for each in problems if flag.refused[value] in each], problems
    assert [each for each in problems if flag.name in each], problems


# (flags added to the valid set, text in the message)
COMBINATIONS_OF_SERVER = [
    ("--cluster-cert=", "--cluster-key needs --cluster-cert"),
    ("--cluster-key=", "--cluster-cert needs --cluster-key"),
    ("--cluster-cert= --cluster-key=", "the agent listener always speaks TLS"),
    ("--server-cert={file}", "--server-cert needs --server-key"),
    ("--server-key={file}", "--server-key needs --server-cert"),
    ("--server-cert={file} --server-key={file}", "--server-ca-cert is needed"),
    ("--uds-name=", "--server-ca-cert is needed"),
    ("--uds-name= --server-ca-cert={file}", "--server-cert is needed"),
    ("--uds-name= --server-ca-cert={file}", "--server-key is needed"),
    ("--uds-name= --server-port=0", "no frontend"),
    ("--server-port=8090", "--server-port is 0 with --uds-name"),
    ("--agent-namespace=a", "needs --agent-service-account and --authentication-audience"),
    ("--agent-namespace=a --agent-service-account=b", "needs --authentication-audience"),
    ("--agent-service-account=b", "needs --agent-namespace and --authentication-audience"),
    ("--authentication-audience=b --agent-namespace=a", "needs --agent-service-account"),
    ("--cluster-ca-cert=", "agents are not authenticated"),
    ("--enable-contention-profiling", "--enable-contention-profiling needs --enable-profiling"),
    ("--enable-lease-controller --lease-label=", "--lease-label: '' is not of the form key=value"),
    ("--enable-lease-controller --lease-label=a", "'a' is not of the form key=value"),
    ("--enable-lease-controller --lease-label=a=b=c", "'a=b=c' is not of the form key=value"),
    ("--enable-lease-controller --lease-label=a=b,", "'' is not of the form key=value"),
    ("--peers=a", "--peer-cert is needed for --peers"),
    ("--proxy-protocol=required", "--proxy-protocol=required needs --proxy-protocol-trusted"),
    ("--proxy-protocol=optional --grpc-implementation=grpcio", "needs --grpc-implementation=native"),
    ("--workers=2 --grpc-implementation=grpcio", "--workers needs --grpc-implementation=native"),
    ("--grpc-implementation=grpcio --mode=grpc,http-connect", "cannot share a socket"),
    ("--log_file=x", "unknown flag: --log_file; did you mean --log-file?"),
    ("--feature-gates=NodeToMasterTraffic=true", "unknown flag: --feature-gates"),
    ("--agent-port", "flag needs an argument: --agent-port"),
    ("-x", "unknown shorthand flag: 'x' in -x"),
]
COMBINATIONS_OF_AGENT = [
    ("--agent-cert={file}", "--agent-cert and --agent-key go together"),
    ("--agent-key={file}", "--agent-cert and --agent-key go together"),
    ("--ca-cert=", "--ca-cert is needed"),
    ("--proxy-server-host=", "--proxy-server-host is needed"),
    ("--sync-interval=0", "must be 10ms or more"),
    ("--enable-contention-profiling", "--enable-contention-profiling needs --enable-profiling"),
    ("--bind-address=0.0.0.0", "unknown flag: --bind-address"),
    ("--apiserver-port-mapping=6443:localhost:1", "unknown flag: --apiserver-port-mapping"),
]
COMBINATIONS = [("proxy-server", *each) for each in COMBINATIONS_OF_SERVER]
COMBINATIONS += [("proxy-agent", *each) for each in COMBINATIONS_OF_AGENT]


@pytest.mark.parametrize(("program", "argv", "message"), COMBINATIONS)
def test_combinations_that_are_refused(files, program, argv, message):
    problems = files.problems(program, *files.fill(argv).split())
    assert [each for each in problems if message in each], problems


# Values that the reference refuses and we accept, or the reverse, with the reason.
ACCEPTED_HERE_ONLY = [
    ("proxy-server", f"{AUTHENTICATION}", "a client CA and tokens together: agents need both"),
    ("proxy-server", f"{FRONTEND}", "a unix socket and TCP with certificates: both are served"),
    ("proxy-server", f"{FRONTEND} --server-port=8090", "the same, said aloud"),
    ("proxy-server", "--mode=grpc,http-connect", "both on one socket"),
    ("proxy-server", "--cipher-suites=[]", "how a launcher renders an empty list"),
    ("proxy-server", "--lease-label=", "of no use without the controller, so nobody dies of it"),
]
REFUSED_HERE_ONLY = [
    ("proxy-server", "--cluster-ca-cert=", "agents are not authenticated", "anyone could take the traffic"),
    ("proxy-server", "--keepalive-time=0", "must be greater than 0", "0 would be 2 h there, in this one flag"),
    ("proxy-server", "--kubeconfig-burst=-1", "must be 0 or more", "no request would ever be sent there"),
    ("proxy-server", "--cluster-cert=/", "is a directory", "it fails later there"),
    ("proxy-agent", "--ca-cert=", "--ca-cert is needed", "it fails later there"),
    ("proxy-agent", "--keepalive-time=-1s", "must be greater than 0", "it would ping for ever"),
    ("proxy-agent", "--sync-interval=0", "must be 10ms or more", "it would connect in a loop"),
    ("proxy-agent", "--health-server-port=70000", "must be a port", "it cannot be listened on"),
    ("proxy-agent", "--stderrthreshold=7", "must be INFO", "there is no such severity"),
]
ACCEPTED_IN_BOTH = [
    ("proxy-server", "--server-count=0"),
    ("proxy-server", "--server-count=-1"),
    ("proxy-server", "--kubeconfig-qps=-1"),
    ("proxy-server", "--proxy-strategies=default,default"),
    ("proxy-server", "--tls-min-version=VersionTLS10"),
    ("proxy-server", "--agent-namespace= --agent-service-account= --authentication-audience= --kubeconfig="),
    ("proxy-server", "--mode=http-connect --mode=grpc"),
    ("proxy-server", "--server-port=0 positional arguments -- --are=ignored"),
    ("proxy-agent", "--agent-identifiers= --kubeconfig= --service-account-token-path= --agent-cert= --agent-key="),
    ("proxy-agent", "--sync-interval=10s"),
    ("proxy-agent", "--server-count-source="),
    ("proxy-agent", "--lease-label-selector= --lease-label=a"),
    ("proxy-agent", "--agent-identifiers=default-route=maybe&ipv4&&host=%24%7BHOST%7D"),
]


@pytest.mark.parametrize(
    ("program", "argv"), [each[:2] for each in ACCEPTED_HERE_ONLY] + ACCEPTED_IN_BOTH, ids=lambda text: text or "-"
)
def test_what_is_accepted(files, program, argv):
    assert files.parse(program, *files.fill(argv).split())


@pytest.mark.parametrize(("program", "argv", "message", "why"), REFUSED_HERE_ONLY)
def test_what_is_refused_here_only(files, program, argv, message, why):
    problems = files.problems(program, argv)
    assert len(problems) == 1, why
    assert message in problems[0]


# ---- the programs themselves -----------------------------------------------------------------------------------------


def run(program, *argv):
    command = [sys.executable, "-c", f"from {MODULES[program]} import main; main()", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={})


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_flag_is_told_with_the_usage(files, program):
    ended = run(program, *files.base(program), "--no-such-flag=1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Error: unknown flag: --no-such-flag\n")
    assert f"Usage:\n  {program} [flags]\n" in ended.stderr
    assert "Traceback" not in ended.stderr


MANY_MISTAKES = {
    "proxy-server": (
        "--mode=x --agent-port=1 --health-port=2 --cluster-cert=/no --server-key=/no --xfr-channel-size=0 --typo "
        "--uds-name= --enable-contention-profiling --agent-namespace=a",
        "--mode; --agent-port; --health-port; --cluster-cert; --cluster-cert needs --cluster-key; --server-key; "
        "--xfr-channel-size; --typo; --server-ca-cert is needed; --enable-contention-profiling needs; "
        "--agent-service-account and --authentication-audience",
    ),
    "proxy-agent": (
        "--agent-cert=/no --proxy-server-port=0 --health-server-port=x --agent-identifiers=uid=1 --sync-interval=1m "
        "--server-count-source=x --lease-label-selector== --enable-contention-profiling",
        "--agent-cert; go together; --proxy-server-port; --health-server-port; --agent-identifiers; --ca-cert is; "
        "longer than --sync-interval-cap; --server-count-source; --lease-label-selector; --enable-contention-profiling",
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_all_problems_are_told_at_once(program):
    argv, problems = MANY_MISTAKES[program]
    ended = run(program, *argv.split())
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.partition("Usage:")[0].splitlines() if line.startswith("Error: ")]
    for problem in problems.split("; "):
        assert [line for line in lines if problem in line], (problem, lines)
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_stdout(program, flag):
    ended = run(program, flag)
    assert (ended.returncode, ended.stderr) == (0, "")
    for each in declared(PROGRAMS[program]):
        assert (f"--{each.flag}" in ended.stdout) == (not (each.hidden or each.deprecated)), each.flag

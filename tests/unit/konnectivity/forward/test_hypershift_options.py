"""Tests of HyperShift's flags: each is accepted with its meaning, or refused with a reason."""

from __future__ import annotations

import pytest

from konnectivity.forward.hypershift_options import HttpsProxyOptions, HypershiftOptions, Socks5ProxyOptions
from konnectivity.runtime.options import UsageError, declared, parse

# The flags of both programs, as their sources declare them.
BOTH = {
    "konnectivity-hostname",
    "konnectivity-port",
    "serving-port",
    "ca-cert-path",
    "tls-cert-path",
    "tls-key-path",
    "connect-directly-to-cloud-apis",
    "prefer-ipv4",
}
SOCKS = {"resolve-from-guest-cluster-dns", "resolve-from-management-cluster-dns", "disable-resolver"}
HTTPS = {"http-proxy", "https-proxy", "no-proxy"}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return a function that gives the forward options of a command line."""
    monkeypatch.setenv("KUBECONFIG", "/etc/kubernetes/kubeconfig")
    (tmp_path / "f").write_text("x")
    files = [f"--{name}={tmp_path}/f" for name in ("ca-cert-path", "tls-cert-path", "tls-key-path")]

    def read(options, *arguments):
        return parse(options, [*files, *arguments], {}, "proxy").forward_options()

    return read


@pytest.mark.parametrize(("options", "flags"), [(Socks5ProxyOptions, BOTH | SOCKS), (HttpsProxyOptions, BOTH | HTTPS)])
def test_every_flag_is_declared(options, flags):
    log = {each.flag for each in declared(options)} - {each.flag for each in declared(HypershiftOptions)}
    own = {each.flag for each in declared(HypershiftOptions)} & BOTH
    assert own | log == flags


def test_the_defaults(read):
    found = read(Socks5ProxyOptions)
    assert found.server == ("konnectivity-server-local:8090",)
    assert (found.port, found.bind_address, found.mode) == (8090, "127.0.0.1", "http-connect")
    assert found.kubeconfig == "/etc/kubernetes/kubeconfig"
    assert not found.problems()


def test_the_server_and_the_port(read):
    found = read(
        HttpsProxyOptions, "--konnectivity-hostname", "server", "--konnectivity-port", "9090", "--serving-port=8091"
    )
    assert (found.server, found.port) == (("server:9090",), 8091)


@pytest.mark.parametrize(
    ("options", "arguments", "ways"),
    [
        (Socks5ProxyOptions, "", ("kubernetes", "local")),
        (Socks5ProxyOptions, "--resolve-from-guest-cluster-dns", ("kubernetes", "cluster-dns")),
        (
            Socks5ProxyOptions,
            "--resolve-from-guest-cluster-dns=true --resolve-from-management-cluster-dns=true",
            ("kubernetes", "cluster-dns", "direct"),
        ),
        (Socks5ProxyOptions, "--disable-resolver --resolve-from-guest-cluster-dns", ("agent",)),
        (HttpsProxyOptions, "--prefer-ipv4", ("kubernetes", "cluster-dns")),
    ],
)
def test_where_names_are_resolved(read, options, arguments, ways):
    found = read(options, *arguments.split())
    assert found.name_settings.rules.ways_of("api.default.svc") == ways
    assert found.cluster_dns == (("dns-default.openshift-dns",) if "cluster-dns" in ways else ())
    assert not found.problems()


def test_cloud_apis_are_dialled_directly(read):
    found = read(Socks5ProxyOptions, "--connect-directly-to-cloud-apis").name_settings.rules
    assert found.ways_of("ec2.eu-west-1.amazonaws.com") == ("direct",)
    assert found.ways_of("login.microsoftonline.com") == ("direct",)
    assert found.ways_of("www.example.org") == ("kubernetes", "local")
    assert read(Socks5ProxyOptions).name_settings.rules.ways_of("sts.amazonaws.com") == ("kubernetes", "local")


def test_a_proxy_behind_the_tunnel(read):
    found = read(HttpsProxyOptions, "--https-proxy=http://u:p@proxy.corp:3128", "--no-proxy=.svc, 10.0.0.0/8,")
    assert (found.outbound_proxy, found.outbound_no_proxy) == ("http://u:p@proxy.corp:3128", (".svc", "10.0.0.0/8"))
    assert read(HttpsProxyOptions, "--http-proxy=http://a:1").outbound_proxy == "http://a:1"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--https-proxy=https://proxy:3128", "--https-proxy: TLS to a proxy (https://) is not supported"),
        ("--http-proxy=socks5://proxy:1080", "--http-proxy: only HTTP proxies are supported"),
        ("--http-proxy=http://a:1 --https-proxy=http://b:1", "--http-proxy differs from --https-proxy"),
        ("--ca-cert-path=/none", "No such file or directory"),
    ],
)
def test_what_is_refused_says_why(read, arguments, reason):
    with pytest.raises(UsageError) as caught:
        read(HttpsProxyOptions, *arguments.split())
    assert any(reason in problem for problem in caught.value.problems), caught.value.problems

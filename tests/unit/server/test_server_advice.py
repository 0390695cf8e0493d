"""Advice on proxy-server's options: each known pitfall is found, and nothing else is reported."""

from __future__ import annotations

import pytest

from konnectivity.runtime.options import existing_file, read
from konnectivity_server.server_advice import amounts_to, pitfalls
from konnectivity_server.server_options import ServerOptions

GOOD = ["--uds-name=/run/k.sock", "--cluster-cert=c", "--cluster-key=k", "--cluster-ca-cert=a", "--server-count=3"]


def options(*more):
    found, problems = read(ServerOptions, [*GOOD, *more], {}, (existing_file,))
    assert problems == []
    return found


def test_good_options_have_none():
    assert pitfalls(options()) == []


@pytest.mark.parametrize(
    ("arguments", "check", "text"),
    [
        (["--server-count=1"], "server-count", "No agent available"),
        (["--proxy-strategies=destHost,defaultRoute", "--agent-identity=certificate-san"], "no-default", "refused"),
        (["--proxy-strategies=destHost,default"], "claims", "may claim any address"),
        (["--backend-dial-timeout=0"], "dial-timeout", "hangs"),
        (["--graceful-shutdown-timeout=1ns"], "grace", "cut"),
        (["--graceful-shutdown-timeout=2m"], "grace", "terminationGracePeriodSeconds"),
        (["--heartbeat-interval=0"], "silence", "1h0m0s"),
        (["--admin-bind-address=0.0.0.0"], "admin-port", "nobody is asked"),
        (["--admin-bind-address=", "--enable-profiling"], "admin-port", "profiles"),
        (["--admin-bind-address=", "--admin-token-file=t"], "admin-port", "can be read on its way"),
        (["--health-port=8095"], "ports", "--health-port has"),
        (["--delete-existing-uds-file=false"], "old-socket", "does not start again"),
        (["--uds-name=k.sock"], "socket-path", "relative"),
        (["--tls-min-version=VersionTLS10"], "tls-version", "VersionTLS10"),
        (["--uds-name=", "--server-cert=c", "--server-key=k", "--server-ca-cert=a"], "grpc-over-tcp", "unix socket"),
        (["-v=8"], "log-volume", "8"),
        (["--log-file=/var/log/k.log"], "log-file", "not written"),
        (["--xfr-channel-size=150"], "no-effect", "connection-window"),
        (["--warn-on-channel-limit"], "deprecated", "deprecated"),
        (["--server-id=${POD_NAME}"], "unexpanded", "${POD_NAME}"),
    ],
)
def test_each_is_found_alone(arguments, check, text):
    found = pitfalls(options(*arguments))
    assert [each.check for each in found] == [check]
    assert text in found[0].what
    assert found[0].do


def test_a_server_that_takes_anyone():
    found, problems = read(
        ServerOptions,
        [*GOOD[:3], "--server-count=3", "--insecure-allow-unauthenticated-agents"],
        {},
        (existing_file,),
    )
    assert problems == []
    assert [each.check for each in pitfalls(found)] == ["anyone"]
    assert amounts_to(found)["agents must show"] == "nothing"


@pytest.mark.parametrize("more", [["--enable-lease-controller"], ["--workers=2"]])
def test_who_is_counted_elsewhere_needs_no_count(more):
    assert pitfalls(options("--server-count=1", *more)) == []


def test_what_they_amount_to():
    facts = amounts_to(options("--mode=grpc,http-connect", "--proxy-strategies=destHost,default", "--workers=2"))
    assert facts["frontend"] == "grpc and http-connect on unix socket /run/k.sock"
    assert facts["egress configuration"] == "proxyProtocol GRPC or HTTPConnect, transport.uds.udsName /run/k.sock"
    assert facts["an agent is chosen by"] == "destHost, then default"
    assert facts["agents are told"].startswith("there are 6 servers")

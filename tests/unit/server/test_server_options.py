"""Options of proxy-server that are refused, all of them at once."""

from __future__ import annotations

import pytest

from konnectivity.runtime.options import UsageError, parse
from konnectivity_server.server_options import ServerOptions


@pytest.fixture
def files(tmp_path):
    for name in ("server.crt", "server.key", "ca.crt"):
        (tmp_path / name).write_text("x")
    return tmp_path


def minimal(files, *more):
    cluster = [f"--cluster-cert={files}/server.crt", f"--cluster-key={files}/server.key"]
    return [*cluster, f"--cluster-ca-cert={files}/ca.crt", f"--uds-name={files}/s.sock", *more]


def options(*argv):
    return parse(ServerOptions, argv, {}, "proxy-server")


def test_the_smallest_set(files):
    found = options(*minimal(files, "--server-port=0"))
    assert found.modes == ["grpc"]
    assert not found.tcp_frontend
    assert found.agent_port == 8091
    assert found.backend_dial_timeout == 10.0


def test_tcp_beside_the_unix_socket_only_if_it_has_a_certificate(files):
    assert not options(*minimal(files)).tcp_frontend
    tls = [f"--server-cert={files}/server.crt", f"--server-key={files}/server.key", f"--server-ca-cert={files}/ca.crt"]
    assert options(*minimal(files, *tls)).tcp_frontend
    assert not options(*minimal(files, *tls, "--server-port=0")).tcp_frontend


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--mode=socks", "http-connect"),
        ("--agent-port=80", "agent-port"),
        ("--proxy-strategies=", "cannot be empty"),
        ("--proxy-strategies=best", "unknown proxy strategy"),
        ("--cluster-ca-cert=", "agents are not authenticated"),
        ("--cluster-cert=", "--cluster-cert"),
        ("--uds-name=", "--server-cert"),
        ("--cluster-cert=/no/such", "/no/such"),
        ("--connection-window=64Mi", "--connection-window-max"),
        ("--connection-buffer-budget=0", "connection-buffer-budget"),
    ],
)
def test_refusals(files, argument, message):
    with pytest.raises(UsageError) as caught:
        options(*minimal(files), argument)
    assert message in "\n".join(caught.value.problems)


def test_the_first_window_is_no_larger_than_the_largest_window(files):
    found = options(*minimal(files, "--connection-window-max=8Ki", "--process-buffer-budget=256Mi")).memory_budget()
    assert (found.initial_window, found.max_window) == (8 * 1024, 8 * 1024)


def test_every_problem_is_told_at_once():
    with pytest.raises(UsageError) as caught:
        options("--mode=x", "--agent-port=1", "--cluster-cert=/a")
    assert len(caught.value.problems) >= 3


def test_unauthenticated_agents_must_be_asked_for(files):
    assert options(*minimal(files, "--cluster-ca-cert=", "--insecure-allow-unauthenticated-agents"))

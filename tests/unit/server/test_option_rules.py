"""Rules for combinations of proxy-server's options: each refuses a violation, and its advice is sufficient."""

from __future__ import annotations

import pytest

from konnectivity.runtime.options import read
from konnectivity_server.server_options import ServerOptions

AGENTS = "--cluster-cert=/dev/null --cluster-key=/dev/null --cluster-ca-cert=/dev/null"
SOCKET = f"{AGENTS} --uds-name=s.sock"
TCP = "--server-cert=/dev/null --server-key=/dev/null --server-ca-cert=/dev/null"
TOKENS = "--agent-namespace=kube-system --agent-service-account=agent --authentication-audience=server"
ONE_PORT = f"{AGENTS} {TCP} --agent-port=8090 --cluster-ca-cert=/dev/zero --server-ca-cert=/dev/full"
TENANTS = (
    "--tenants=/tmp --cluster-cert=/dev/null --cluster-key=/dev/null --server-cert=/dev/null --server-key=/dev/null"
)
PEERS = "--peer-cert=/dev/null --peer-key=/dev/null --peer-ca-cert=/dev/urandom"


def problems(arguments):
    return read(ServerOptions, arguments.split(), {})[1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (f"{SOCKET} --cluster-key=", "--cluster-cert needs --cluster-key"),
        (f"{SOCKET} --cluster-cert=", "--cluster-key needs --cluster-cert"),
        (f"{SOCKET} --server-key=/dev/null", "--server-key needs --server-cert"),
        (f"{SOCKET} --cluster-cert= --cluster-key=", "the agent listener always speaks TLS"),
        (f"{AGENTS} --server-port=0", "no frontend: set --uds-name, or --server-port"),
        (f"{AGENTS}", "--server-cert is needed for the TCP frontend"),
        (f"{AGENTS} {TCP} --server-ca-cert=", "--server-ca-cert is needed for the TCP frontend"),
        (f"{SOCKET} --server-port=8090", "--server-port is 0 with --uds-name"),
        (f"{SOCKET} --cluster-ca-cert=", "agents are not authenticated"),
        (f"{SOCKET} --agent-namespace=a", "needs --agent-service-account and --authentication-audience, too"),
        (f"{SOCKET} --agent-identity=token", "--agent-identity=token needs --agent-namespace"),
        (f"{SOCKET} {TOKENS} --cluster-ca-cert= --agent-identity=certificate-san", "needs --cluster-ca-cert"),
        (
            f"{SOCKET} --agent-identity=certificate-san --grpc-implementation=grpcio --mode=grpc",
            "--agent-identity=certificate-san needs --grpc-implementation=native",
        ),
        (f"{SOCKET} --peer-port=8133", "--peer-ca-cert is needed for --peers and --peer-port"),
        (f"{SOCKET} --ready-when=path", "--ready-when=path needs --probe"),
        (f"{SOCKET} --probe-node-events", "--probe-node-events needs --probe"),
        (f"{SOCKET} --probe=a=b:1 --probe-cert=/dev/null", "--probe-cert and --probe-key need each other"),
        (f"{SOCKET} --peers=other", "--peer-cert is needed for --peers and --peer-port"),
        (f"{SOCKET} --enable-lease-controller --lease-label=a", "--lease-label: "),
        (f"{SOCKET} --enable-contention-profiling", "needs --enable-profiling"),
        (f"{SOCKET} --grpc-implementation=grpcio --mode=grpc,http-connect", "cannot share a socket"),
        (f"{SOCKET} --grpc-implementation=grpcio --workers=2", "--workers needs --grpc-implementation=native"),
        (f"{SOCKET} --proxy-protocol=optional", "--proxy-protocol=optional needs --proxy-protocol-trusted"),
        (
            f"{SOCKET} --proxy-protocol=required --proxy-protocol-trusted=::1 --grpc-implementation=grpcio --mode=grpc",
            "--proxy-protocol=required needs --grpc-implementation=native",
        ),
        (f"{ONE_PORT} --cluster-cert=/dev/zero", "give --server-cert the file of --cluster-cert"),
        (f"{ONE_PORT} --server-ca-cert=/dev/null --cluster-ca-cert=/dev/null", "tells them apart by their CA"),
        (f"{ONE_PORT} --mode=grpc --grpc-implementation=grpcio", "share port 8090, which needs --grpc-implementation"),
        (
            f"{ONE_PORT} {PEERS} --peer-port=8090 --proxy-protocol=required --proxy-protocol-trusted=::1",
            "peer servers connect directly, so give --peer-port a port of its own",
        ),
        (f"{TENANTS} --peer-port=8133", "--peer-cert is needed for --peers and --peer-port"),
        (f"{TENANTS} {PEERS} --agent-port=8133 --peer-port=8133", "list the DNS names of all servers"),
        (
            f"{TENANTS} {PEERS} --server-port=8133 --peer-port=8133 --peers=::1",
            "--peers has ::1, which is no TLS server",
        ),
        (
            f"{TENANTS} {PEERS} --agent-port=8133 --peer-port=8133 --peers=a --proxy-protocol=required "
            "--proxy-protocol-trusted=::1",
            "peer servers connect directly, so give --peer-port a port of its own",
        ),
        (f"{SOCKET} --connection-window=2Mi --connection-window-max=1Mi", "larger than --connection-window-max"),
    ],
)
def test_what_does_not_go_together(arguments, problem):
    found = problems(arguments)
    assert problem in "\n".join(found)


@pytest.mark.parametrize(
    "arguments",
    [
        SOCKET,
        f"{AGENTS} {TCP}",
        ONE_PORT,
        f"{ONE_PORT} --cluster-ca-cert= {TOKENS}",
        f"{ONE_PORT} {PEERS} --peer-port=8090",
        f"{AGENTS} {TCP} --agent-port=8090 --agent-bind-address=127.0.0.1 --server-bind-address=127.0.0.2",
        f"{SOCKET} {TCP} --server-port=8090",
        f"{SOCKET} --cluster-ca-cert= {TOKENS} --agent-identity=token",
        f"{SOCKET} --agent-identity=certificate-san",
        f"{SOCKET} --peer-port=8133 --peer-cert=/dev/null --peer-key=/dev/null --peer-ca-cert=/dev/null",
        f"{SOCKET} --enable-lease-controller --lease-label=a=b",
        f"{TENANTS} --workers=2",
        f"{TENANTS} {PEERS} --peer-port=8133 --peers=10.0.0.1",
        f"{TENANTS} {PEERS} --agent-port=8133 --peer-port=8133 --peers=one.example,two.example",
        f"{SOCKET} --lease-label=a",  # a label without leases
        f"{SOCKET} --enable-contention-profiling --enable-profiling",
        f"{SOCKET} --proxy-protocol=required --proxy-protocol-trusted=10.0.0.0/8,fd00::1",
        f"{SOCKET} --proxy-protocol-trusted=10.0.0.0/8",  # kept for another time
    ],
)
def test_what_does(arguments):
    assert problems(arguments) == []


def test_all_of_it_is_said_at_once():
    given = "--server-port=0 --enable-contention-profiling --connection-window=64Ki --connection-window-max=1"
    assert len(problems(given)) == 5

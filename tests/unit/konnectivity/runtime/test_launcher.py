"""Launcher: the program that a command line names."""

from __future__ import annotations

import pytest

from konnectivity.runtime.launcher import choose

SERVER, AGENT, TOOL = "konnectivity_server.server_main", "konnectivity_agent.agent_main", "konnectivity.tool.cli.main"
FORWARD, HYPERSHIFT = "konnectivity.forward.forward_main", "konnectivity.forward.hypershift_main"


@pytest.mark.parametrize(
    ("line", "module", "arguments"),
    [
        ("/proxy-server --mode=grpc", SERVER, ["--mode=grpc"]),
        ("/usr/bin/proxy-agent", AGENT, []),
        ("/var/lib/k0s/bin/konnectivity-server -v=2", SERVER, ["-v=2"]),
        ("./konnectivity proxy-server --mode=grpc", SERVER, ["--mode=grpc"]),
        ("./konnectivity proxy-agent", AGENT, []),
        ("./konnectivity dial proxy-server:80", TOOL, ["dial", "proxy-server:80"]),
        ("./anything konnectivity dial", TOOL, ["dial"]),
        ("./konnectivity forward --port=1", FORWARD, ["--port=1"]),
        ("./anything konnectivity forward", FORWARD, []),
        (
            "./x konnectivity-socks5-proxy --serving-port=1",
            HYPERSHIFT,
            ["konnectivity-socks5-proxy", "--serving-port=1"],
        ),
        ("/konnectivity-https-proxy", HYPERSHIFT, ["konnectivity-https-proxy"]),
        ("/proxy-agent forward", AGENT, ["forward"]),
        ("./konnectivity --version", TOOL, ["--version"]),
        ("./konnectivity", TOOL, []),
        ("/proxy-server proxy-agent", SERVER, ["proxy-agent"]),
    ],
)
def test_by_its_name_else_by_the_first_argument(line, module, arguments):
    assert choose(line.split()) == (module, arguments)

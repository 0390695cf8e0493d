"""Tests of the length of the call chains of a DATA byte, of a CONNECT dial and of a gRPC dial."""

from __future__ import annotations

import pytest

from tools import trace_path
from tools.trace_path import CallChain, Traces

# Upper bounds of calls and files. A change that shortens a chain lowers its bounds.
# Under load a read may be handled in two turns, which adds calls and a file to a dial: its bounds have room for one.
BOUNDS = {"server_hop": (11, 7), "agent_hop": (15, 11), "dial": (187, 50), "grpc_dial": (365, 70)}


@pytest.fixture(scope="module")
def traces() -> Traces:
    return trace_path.run()


@pytest.mark.parametrize("path", BOUNDS)
def test_a_chain_of_calls_is_no_longer_than_its_bound(traces: Traces, path: str) -> None:
    chain: CallChain = getattr(traces, path)
    calls, files = BOUNDS[path]
    assert len(chain.calls) <= calls, "\n".join(f"{file} {function}" for file, function in chain.calls)
    assert chain.files <= files


def test_a_byte_passes_the_client_socket_the_tunnel_and_the_target_socket(traces: Traces) -> None:
    server, agent = ([function for _, function in hop.calls] for hop in (traces.server_hop, traces.agent_hop))
    assert "Relay.buffer_updated" in server
    assert "Tunnel.send_data" in server
    assert "Tunnel.message_received" in agent
    assert "Relay.write" in agent
